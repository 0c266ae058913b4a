/* Runs the network on every input of a file, and reports what that took. For the emulator, by semihosting. */
#include "nas_firmware.h"
#include "nas_layers.h"
#include "nas_semihosting.h"
#include "net.h"

enum { NO_FILE = 10, INIT_FAILED, RUN_FAILED, WRITE_FAILED, NO_INPUT };

static net_output_t output[NET_OUTPUTS];

static char *decimal(char *at, uint32_t value)
{
    char digits[10];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *at++ = digits[--n];
    return at;
}

static int line(int file, const char *name, uint32_t value)
{
    char text[32], *at = text;
    while (*name)
        *at++ = *name++;
    *at++ = ' ';
    at = decimal(at, value);
    *at++ = '\n';
    return nas_file_write(file, text, (uint32_t)(at - text));
}

static int report(uint32_t runs)
{
    int file = nas_file_open("report.txt", NAS_OPEN_WRITE), failed = file < 0;
    if (failed)
        return NO_FILE;
    failed |= line(file, "runs", runs);
    failed |= line(file, "stack", nas_stack_used());
    for (unsigned region = 0; region < NAS_FIRST_LAYER + NET_LAYERS; region++)
        failed |= line(file, "region", nas_region_ticks(region));
    nas_file_close(file);
    return failed ? WRITE_FAILED : 0;
}

int main(void)
{
    int inputs = nas_file_open("input.bin", NAS_OPEN_READ), outputs = nas_file_open("output.bin", NAS_OPEN_WRITE);
    int8_t *input = net_input();
    uint32_t runs = 0;
    if (inputs < 0 || outputs < 0)
        return NO_FILE;
    if (net_init() != 0)
        return INIT_FAILED;
    nas_stack_paint();
    for (; nas_file_read(inputs, input, NET_INPUT_BYTES) == NET_INPUT_BYTES; runs++) {
        nas_layers_reset(); /* ticks are those of the last run: of all of them a word might not hold */
        nas_layers_start();
        int status = net_run(input, output);
        nas_layers_end();
        if (status != 0)
            return RUN_FAILED;
        if (nas_file_write(outputs, output, sizeof output) != 0)
            return WRITE_FAILED;
    }
    nas_file_close(inputs);
    nas_file_close(outputs);
    return runs ? report(runs) : NO_INPUT;
}
