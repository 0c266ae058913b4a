#include "nas_layers.h"

#include "net.h"

#define REGIONS (NAS_FIRST_LAYER + NET_LAYERS)

#if defined(__GNUC__) && !defined(__clang__)
#define ONE_COPY __attribute__((noinline, noclone))
#else
#define ONE_COPY __attribute__((noinline))
#endif

volatile uint8_t nas_mark[REGIONS];

static uint32_t spent[REGIONS];
static unsigned current;
static uint32_t since;

/* The plugin watches the stores of this function alone. Between the two marks lies what counting costs. */
ONE_COPY void nas_region_begin(unsigned region)
{
    nas_mark[NAS_OUTSIDE] = 1;
    uint32_t now = nas_ticks();
    spent[current] += now - since;
    current = region;
    since = nas_ticks();
    nas_mark[region] = 1;
}

void nas_layer_begin(unsigned id)
{
    nas_region_begin(id < NET_LAYERS ? NAS_FIRST_LAYER + id : NAS_BETWEEN);
}

void nas_layers_reset(void)
{
    for (unsigned i = 0; i < REGIONS; i++)
        spent[i] = 0;
    nas_ticks_start();
    nas_region_begin(NAS_OUTSIDE);
    nas_region_begin(NAS_EMPTY);
    nas_region_begin(NAS_OUTSIDE);
}

void nas_layers_start(void)
{
    nas_region_begin(NAS_BETWEEN);
}

void nas_layers_end(void)
{
    nas_region_begin(NAS_OUTSIDE);
}

uint32_t nas_region_ticks(unsigned region)
{
    return region < REGIONS ? spent[region] : 0;
}
