/* Which layer is running, and for how long: called by the generated net.c at each layer's begin. */
#ifndef NAS_LAYERS_H
#define NAS_LAYERS_H

#include <stdint.h>

/* Regions of time: outside of a run, the run itself between its layers, an empty layer, then the layers. */
#define NAS_OUTSIDE 0u
#define NAS_BETWEEN 1u
#define NAS_EMPTY 2u
#define NAS_FIRST_LAYER 3u

/* A store to nas_mark[r] tells whoever watches the memory (the emulator's plugin) that region r begins. */
extern volatile uint8_t nas_mark[];

/* A free-running counter: cycles on a chip, emulated time in an emulator. The board, or your project, defines both. */
void nas_ticks_start(void);
uint32_t nas_ticks(void);

/* A region begins, and the one before it ends. */
void nas_region_begin(unsigned region);

/* Layer `id` begins, and the one before it ends; the number of layers ends the last one. */
void nas_layer_begin(unsigned id);

/* Begin to count anew; a run lies between the other two. `nas_layers_end` ends the last layer as well. */
void nas_layers_reset(void);
void nas_layers_start(void);
void nas_layers_end(void);

/* Ticks of a region since the reset. A run enters each layer once and NAS_BETWEEN twice; what the counting itself takes
 * at each entry is what NAS_EMPTY has. */
uint32_t nas_region_ticks(unsigned region);
#define NAS_BETWEEN_ENTRIES 2u

#ifndef NET_LAYER_HOOK
#define NET_LAYER_HOOK(id) nas_layer_begin(id)
#endif

#endif
