/* A "network" of two layers that differ by a known number of instructions: what counts is tried out on it. */
#ifndef NET_H
#define NET_H

#include <stdint.h>

#define NET_INPUT_BYTES 4
#define NET_OUTPUT_BYTES 4
#define NET_OUTPUTS 4
#define NET_ARENA_BYTES 0
#define NET_LAYERS 2

typedef int8_t net_output_t;

int net_init(void);
int8_t *net_input(void);
int net_run(const int8_t *input, net_output_t *output);

#endif
