/* Answers a host over the board's serial line. */
#include "nas_firmware.h"
#include "nas_serve.h"

uint32_t nas_ticks_per_second(void)
{
    return NAS_TICKS_PER_SECOND;
}

void nas_board_start(void)
{
    nas_uart_start();
}

void nas_put_text(const char *text)
{
    while (*text)
        nas_put_byte((uint8_t)*text++);
}

void nas_exit(int status)
{
    (void)status;
    for (;;)
        ;
}

int main(void)
{
    nas_stack_paint();
    nas_serve();
}
