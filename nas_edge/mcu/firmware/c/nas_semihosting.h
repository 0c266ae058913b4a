/* Files, text and an exit code on the machine that emulates or debugs this one (Arm's semihosting, by BKPT 0xAB). */
#ifndef NAS_SEMIHOSTING_H
#define NAS_SEMIHOSTING_H

#include <stdint.h>

#define NAS_OPEN_READ 1u  /* "rb" */
#define NAS_OPEN_WRITE 5u /* "wb" */

int nas_file_open(const char *name, uint32_t mode);           /* a handle, -1 where it cannot be opened */
uint32_t nas_file_read(int handle, void *to, uint32_t bytes); /* bytes that were read */
int nas_file_write(int handle, const void *from, uint32_t bytes); /* 0 where all was written */
void nas_file_close(int handle);

#endif
