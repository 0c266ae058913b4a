/* Vector table, reset, and what happens when the processor faults. Any Cortex-M of Armv7-M or Armv8-M. */
#include "nas_firmware.h"

extern uint32_t __stack_limit[], __stack_top[], __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];

int main(void);
void Reset_Handler(void);
void nas_fault(void);
void nas_fault_report(const uint32_t *frame, uint32_t number, const uint32_t *saved);

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define CFSR (*(volatile uint32_t *)0xE000ED28u)
#define HFSR (*(volatile uint32_t *)0xE000ED2Cu)
#define MMFAR (*(volatile uint32_t *)0xE000ED34u)
#define BFAR (*(volatile uint32_t *)0xE000ED38u)

static const uint32_t *painted_from;

void Reset_Handler(void)
{
    CPACR |= 0xFu << 20; /* coprocessors 10 and 11: the FPU, and Helium where there is one */
    __asm__ volatile("dsb\n\tisb");
    for (uint32_t *from = __data_load, *to = __data_start; to < __data_end;)
        *to++ = *from++;
    for (uint32_t *to = __bss_start; to < __bss_end;)
        *to++ = 0;
    nas_board_start();
    nas_exit(main());
}

/* The stack below the caller is filled with a pattern; what no longer holds it afterwards was used. */
__attribute__((noinline)) void nas_stack_paint(void)
{
    const uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    painted_from = here;
    for (volatile uint32_t *p = __stack_limit; p < here - 8; p++)
        *p = NAS_PAINT;
}

uint32_t nas_stack_used(void)
{
    const uint32_t *p = __stack_limit;
    while (p < painted_from && *p == NAS_PAINT)
        p++;
    return (uint32_t)((const char *)__stack_top - (const char *)p);
}

/* The stack lies at the bottom of the RAM: one that overflows leaves the RAM, and faults instead of corrupting it. */
__attribute__((naked)) void nas_fault(void)
{
    __asm__ volatile("mrs r0, msp\n\t"
                     "mrs r1, ipsr\n\t"
                     "ldr r2, =__stack_limit\n\t"
                     "cmp r0, r2\n\t"
                     "bhs 1f\n\t"
                     "ldr r2, =__stack_top\n\t"
                     "mov sp, r2\n\t"
                     "1: push {r4-r11}\n\t"
                     "mov r2, sp\n\t"
                     "b nas_fault_report\n\t"
                     ".ltorg");
}

static void dump(const char *name, uint32_t value)
{
    static const char digits[] = "0123456789abcdef";
    char text[] = "00000000 ";
    for (int i = 7; i >= 0; i--, value >>= 4)
        text[i] = digits[value & 15];
    nas_put_text(name);
    nas_put_text("=");
    nas_put_text(text);
}

__attribute__((used)) void nas_fault_report(const uint32_t *frame, uint32_t number, const uint32_t *saved)
{
    static const char *const stacked[] = {"r0", "r1", "r2", "r3", "r12", "lr", "pc", "psr"};
    static const char *const kept[] = {"r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11"};
    nas_put_text("NAS-FAULT ");
    dump("exception", number);
    if (frame < __stack_limit || frame + 8 > __stack_top)
        nas_put_text("stack-overflow ");
    else
        for (int i = 0; i < 8; i++)
            dump(stacked[i], frame[i]);
    for (int i = 0; i < 8; i++)
        dump(kept[i], saved[i]);
    dump("sp", (uint32_t)(uintptr_t)frame);
    dump("cfsr", CFSR);
    dump("hfsr", HFSR);
    dump("mmfar", MMFAR);
    dump("bfar", BFAR);
    nas_put_text("\n");
    nas_exit(NAS_EXIT_FAULT);
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))__stack_top, Reset_Handler, nas_fault, nas_fault, nas_fault, nas_fault, nas_fault, nas_fault,
    nas_fault, nas_fault, nas_fault, nas_fault, nas_fault, nas_fault, nas_fault, nas_fault,
};
