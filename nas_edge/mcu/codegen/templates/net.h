/* @title@: @input_shape@ in, @output_shape@ out; @origin@.
 *
 * Once net_init(); then for each image fill net_input() and call net_run(net_input(), output).
 * Not reentrant: there is one arena, and one image at a time.
 */
#ifndef NET_H
#define NET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The image: codes [height][width][channels]; real value = NET_INPUT_SCALE * (code - NET_INPUT_ZERO_POINT). */
@input_macros@

/* @output_meaning@ */
typedef @output_type@ net_output_t;
#define NET_OUTPUTS @outputs@
@output_macros@

/* Memory for activations, inside net.c; the stack comes on top of it. */
#define NET_ARENA_BYTES @arena_bytes@
#define NET_LAYERS @layers@

/* Checks that the weights can be read and are whole: 0, or -1. Where it fails, the flash that they lie in is most
 * likely not mapped yet. */
int net_init(void);

/* NET_INPUT_BYTES inside the arena where the image costs no memory of its own. net_run writes over it. */
int8_t *net_input(void);

/* Runs the network on one image. `input` is net_input() or any other memory, flash included.
 * 0, or -1 where a pointer is NULL. */
int net_run(const int8_t *input, net_output_t *output);
@image@
#ifdef __cplusplus
}
#endif

#endif
