#include "nas_semihosting.h"

#include <string.h>

#include "nas_firmware.h"

enum { OPEN = 0x01, CLOSE = 0x02, WRITE0 = 0x04, WRITE = 0x05, READ = 0x06, EXIT_EXTENDED = 0x20 };
#define STOPPED_BY_APPLICATION 0x20026u

static uint32_t call(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int nas_file_open(const char *name, uint32_t mode)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, mode, (uint32_t)strlen(name)};
    return (int)call(OPEN, block);
}

uint32_t nas_file_read(int handle, void *to, uint32_t bytes)
{
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)to, bytes};
    uint32_t missing = call(READ, block);
    return missing > bytes ? 0 : bytes - missing;
}

int nas_file_write(int handle, const void *from, uint32_t bytes)
{
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)from, bytes};
    return call(WRITE, block) == 0 ? 0 : -1;
}

void nas_file_close(int handle)
{
    const uint32_t block[1] = {(uint32_t)handle};
    (void)call(CLOSE, block);
}

void nas_board_start(void) {}

void nas_put_text(const char *text)
{
    (void)call(WRITE0, text);
}

void nas_exit(int status)
{
    const uint32_t block[2] = {STOPPED_BY_APPLICATION, (uint32_t)status};
    (void)call(EXIT_EXTENDED, block);
    for (;;)
        ;
}
