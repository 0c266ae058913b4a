/* The board's serial line, polled: 8 bits, no parity, 1 stop bit. */
#include "nas_firmware.h"
#include "nas_serve.h"

#define REGISTER(offset) (*(volatile uint32_t *)(NAS_UART_BASE + (offset)))

#if defined(NAS_UART_STM32F4) /* USART1 on pins PA9 and PA10, 115200 baud from the 16 MHz that the chip starts with */

#define RCC_AHB1ENR (*(volatile uint32_t *)0x40023830u)
#define RCC_APB2ENR (*(volatile uint32_t *)0x40023844u)
#define GPIOA_MODER (*(volatile uint32_t *)0x40020000u)
#define GPIOA_AFRH (*(volatile uint32_t *)0x40020024u)

void nas_uart_start(void)
{
    RCC_AHB1ENR |= 1u;
    RCC_APB2ENR |= 1u << 4;
    GPIOA_MODER = (GPIOA_MODER & ~(0xFu << 18)) | 0xAu << 18;
    GPIOA_AFRH = (GPIOA_AFRH & ~(0xFFu << 4)) | 0x77u << 4;
    REGISTER(0x08) = 16000000u / 115200u;
    REGISTER(0x0C) = 1u << 13 | 1u << 3 | 1u << 2;
}

uint8_t nas_get_byte(void)
{
    while (!(REGISTER(0x00) & 1u << 5))
        ;
    return (uint8_t)REGISTER(0x04);
}

void nas_put_byte(uint8_t byte)
{
    while (!(REGISTER(0x00) & 1u << 7))
        ;
    REGISTER(0x04) = byte;
}

#elif defined(NAS_UART_CMSDK)

void nas_uart_start(void)
{
    REGISTER(0x10) = 25000000u / 115200u;
    REGISTER(0x08) = 3;
}

uint8_t nas_get_byte(void)
{
    while (!(REGISTER(0x04) & 2u))
        ;
    return (uint8_t)REGISTER(0x00);
}

void nas_put_byte(uint8_t byte)
{
    while (REGISTER(0x04) & 1u)
        ;
    REGISTER(0x00) = byte;
}

#else
#error "nas_board.h names no serial line"
#endif
