/*
 * A network on a chip, measured over a line of bytes: `nas-edge profile --serial PORT` talks with nas_serve().
 *
 * Your project gives the four functions below and calls nas_serve() once its clocks and its line work; everything else
 * is here and in nas_layers.c. Nothing depends on the chip.
 */
#ifndef NAS_SERVE_H
#define NAS_SERVE_H

#include <stdint.h>

/* Yours: a byte from the line, waiting for it; and a byte to it. */
uint8_t nas_get_byte(void);
void nas_put_byte(uint8_t byte);

/* Yours: a counter of 32 bits that runs freely, and how often it ticks in a second (0: a tick is an instruction of an
 * emulator). On Cortex-M3 and up DWT->CYCCNT does. */
void nas_ticks_start(void);
uint32_t nas_ticks(void);
uint32_t nas_ticks_per_second(void);

/* Yours, or leave it as it is: bytes of the stack that were used; 0 where that is not known. */
uint32_t nas_stack_used(void);

/* Answers the host for ever. */
void nas_serve(void);

#endif
