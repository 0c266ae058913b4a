/* Parameters of @title@: @origin@. */
#ifndef NET_WEIGHTS_H
#define NET_WEIGHTS_H

#include <stdint.h>

/* The memory that they lie in, if not among the constants: -DNET_WEIGHTS_SECTION='__attribute__((section(".qspi")))' */
#ifndef NET_WEIGHTS_SECTION
#define NET_WEIGHTS_SECTION
#endif

/* Packed as nas_kernels.h says. */
typedef struct {
@members@
    int8_t readahead[@readahead@]; /* kernels may read, not use, this much beyond the last weights */
} net_weights_t;

extern const net_weights_t net_weights;

#endif
