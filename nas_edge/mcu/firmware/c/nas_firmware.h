/* What the files of the firmware share. */
#ifndef NAS_FIRMWARE_H
#define NAS_FIRMWARE_H

#include <stddef.h>
#include <stdint.h>

#include "nas_board.h"

#define NAS_PAINT 0x5A17C0DEu
#define NAS_EXIT_FAULT 99

/* nas_startup.c */
void nas_stack_paint(void);
uint32_t nas_stack_used(void); /* bytes from the stack's top to the deepest word that was written */

/* nas_ticks.c, nas_uart.c */
void nas_uart_start(void);

/* nas_semihosting.c, or nas_serial.c: how text leaves, and how the program ends */
void nas_board_start(void);
void nas_put_text(const char *text);
void nas_exit(int status) __attribute__((noreturn));

#endif
