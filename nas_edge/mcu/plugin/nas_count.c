/*
 * nas_count: a TCG plugin of QEMU that counts what firmware executes, by address and by region of its run.
 *
 * Copyright (C) 2026 the nas-edge authors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This one file is loaded into QEMU, which is GPL, and is therefore under the GPL as well: you can redistribute it
 * and/or modify it under the terms of the GNU General Public License as published by the Free Software Foundation;
 * either version 2 of the License, or (at your option) any later version. It comes WITHOUT ANY WARRANTY.
 *
 * Arguments:
 *   out=FILE       where the counts are written when QEMU ends
 *   mark=ADDRESS   of the firmware's array nas_mark: a store to its byte r says that region r begins
 *   regions=N      bytes of that array
 *   first=ADDRESS, last=ADDRESS
 *                  of the function whose stores are watched; watching all of them would slow everything down
 *
 * Written, a line for each block of code and region in which it ran: region, executions, how often another block than
 * the next in memory came after it (taken branches), and the addresses of its instructions, hexadecimal.
 *
 * Debian ships no header for plugins: what is used of the interface (version 1, QEMU 7.2) is declared here.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { NO_REGISTERS = 0, WRITES = 2 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, uint32_t, uint64_t, void *),
                                             int flags, int what, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t, const void *, int, char **);

typedef struct block {
    uint64_t *executed, *left; /* of each region; `left`: another block than the next in memory came after it */
    uint32_t *addresses;
    size_t n;
    uint32_t start, end;
    struct block *next;
} block_t;

static block_t *blocks, *previous;
static unsigned region, regions = 256;
static uint64_t mark, first, last;
static const char *out;

static void *must(void *memory)
{
    if (!memory) {
        fputs("nas_count: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void executed(unsigned cpu, void *data)
{
    block_t *block = data;
    (void)cpu;
    if (previous && previous->end != block->start)
        previous->left[region]++;
    block->executed[region]++;
    previous = block;
}

static void stored(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
    (void)cpu, (void)info, (void)data;
    if (address >= mark && address < mark + regions)
        region = (unsigned)(address - mark);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    block_t *block = must(calloc(1, sizeof *block));
    (void)id;
    block->n = qemu_plugin_tb_n_insns(tb);
    block->addresses = must(malloc(block->n * sizeof *block->addresses));
    block->executed = must(calloc(2 * (size_t)regions, sizeof *block->executed));
    block->left = block->executed + regions;
    for (size_t i = 0; i < block->n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        block->addresses[i] = (uint32_t)address;
        block->end = (uint32_t)(address + qemu_plugin_insn_size(insn));
        if (address >= first && address < last)
            qemu_plugin_register_vcpu_mem_cb(insn, stored, NO_REGISTERS, WRITES, NULL);
    }
    block->start = block->addresses[0];
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, block);
}

static void finished(qemu_plugin_id_t id, void *data)
{
    FILE *file = fopen(out, "w");
    (void)id, (void)data;
    if (!file) {
        perror(out);
        return;
    }
    for (block_t *block = blocks; block; block = block->next)
        for (unsigned r = 0; r < regions; r++)
            if (block->executed[r] || block->left[r]) {
                fprintf(file, "%u %llu %llu", r, (unsigned long long)block->executed[r],
                        (unsigned long long)block->left[r]);
                for (size_t i = 0; i < block->n; i++)
                    fprintf(file, " %x", block->addresses[i]);
                fputc('\n', file);
            }
    fputs("end\n", file);
    fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            return -1;
        *value++ = 0;
        if (!strcmp(argv[i], "out"))
            out = must(strdup(value));
        else if (!strcmp(argv[i], "mark"))
            mark = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "regions"))
            regions = (unsigned)strtoul(value, NULL, 0);
        else if (!strcmp(argv[i], "first"))
            first = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "last"))
            last = strtoull(value, NULL, 0);
        else
            return -1;
    }
    if (!out || !regions)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
