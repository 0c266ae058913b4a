/* The board's free-running counter. */
#include "nas_firmware.h"
#include "nas_layers.h"

#define REGISTER(offset) (*(volatile uint32_t *)(NAS_TIMER_BASE + (offset)))

#if defined(NAS_TIMER_STM32_TIM) /* TIM2 or TIM5: 32 bits, counts up */

#define RCC_APB1ENR (*(volatile uint32_t *)0x40023840u)

void nas_ticks_start(void)
{
    RCC_APB1ENR |= 1u; /* TIM2's clock */
    REGISTER(0x28) = 0;
    REGISTER(0x2C) = 0xFFFFFFFFu;
    REGISTER(0x00) = 1;
}

uint32_t nas_ticks(void)
{
    return REGISTER(0x24);
}

#elif defined(NAS_TIMER_CMSDK) /* counts down */

void nas_ticks_start(void)
{
    REGISTER(0x08) = 0xFFFFFFFFu;
    REGISTER(0x04) = 0xFFFFFFFFu;
    REGISTER(0x00) = 1;
}

uint32_t nas_ticks(void)
{
    return ~REGISTER(0x04);
}

#elif defined(NAS_TIMER_SSE_300) /* system timer, driven by the system counter */

#define SYSTEM_COUNTER_CONTROL (*(volatile uint32_t *)0x58100000u)

void nas_ticks_start(void)
{
    SYSTEM_COUNTER_CONTROL |= 1u;
}

uint32_t nas_ticks(void)
{
    return REGISTER(0x00);
}

#else
#error "nas_board.h names no timer"
#endif
