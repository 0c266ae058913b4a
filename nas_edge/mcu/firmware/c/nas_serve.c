/*
 * Frames, both ways: 'N' 'E', kind, sequence, length (2 bytes, low first), payload, CRC-32 (4 bytes, low first) of all
 * between the marks and itself. A frame that is cut or disturbed is dropped; the host asks again with the same
 * sequence number, and what was asked before is answered from memory: asking twice runs the network once.
 */
#include "nas_serve.h"

#include <string.h>

#include "nas_layers.h"
#include "net.h"

#define MOST 512u
#define VERSION 1u

enum { HELLO = 'H', INPUT = 'I', RUN = 'R', OUTPUT = 'O', LAYERS = 'L', REFUSED = '!' };

static uint8_t frame[4 + MOST + 4]; /* kind, sequence, length, payload, check */
static uint8_t answer[4 + MOST + 4];
static uint32_t answer_length; /* of the last one, 0 before the first */
static net_output_t output[NET_OUTPUTS];
static uint8_t started;

static uint32_t crc32(const uint8_t *bytes, uint32_t n)
{
    uint32_t crc = 0xFFFFFFFFu;
    while (n--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static uint32_t number(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    while (bytes--)
        value = value << 8 | at[bytes];
    return value;
}

static uint8_t *put(uint8_t *at, uint32_t value, int bytes)
{
    for (; bytes; bytes--, value >>= 8)
        *at++ = (uint8_t)value;
    return at;
}

/* The next whole frame, in `frame`; its payload's length. */
static uint32_t receive(void)
{
    for (;;) {
        uint8_t byte = nas_get_byte();
        while (byte != 'N')
            byte = nas_get_byte();
        do
            byte = nas_get_byte();
        while (byte == 'N');
        if (byte != 'E')
            continue;
        for (int i = 0; i < 4; i++)
            frame[i] = nas_get_byte();
        uint32_t length = number(frame + 2, 2);
        if (length > MOST)
            continue;
        for (uint32_t i = 0; i < length + 4; i++)
            frame[4 + i] = nas_get_byte();
        if (crc32(frame, 4 + length) == number(frame + 4 + length, 4))
            return length;
    }
}

static void send_answer(void)
{
    nas_put_byte('N');
    nas_put_byte('E');
    for (uint32_t i = 0; i < answer_length; i++)
        nas_put_byte(answer[i]);
}

static uint8_t *hello(uint8_t *at)
{
    at = put(at, VERSION, 1);
    at = put(at, NET_LAYERS, 2);
    at = put(at, NET_INPUT_BYTES, 4);
    at = put(at, NET_OUTPUT_BYTES, 4);
    at = put(at, NET_ARENA_BYTES, 4);
    return put(at, nas_ticks_per_second(), 4);
}

static uint8_t *run(uint8_t *at)
{
    if (!started && net_init() != 0)
        return NULL;
    started = 1;
    nas_layers_reset();
    nas_layers_start();
    int status = net_run(net_input(), output);
    nas_layers_end();
    if (status != 0)
        return NULL;
    at = put(at, nas_region_ticks(NAS_BETWEEN), 4);
    at = put(at, NAS_BETWEEN_ENTRIES, 4);
    at = put(at, nas_region_ticks(NAS_EMPTY), 4);
    return put(at, nas_stack_used(), 4);
}

/* The answer to `frame`, written from `at`; NULL refuses. */
static uint8_t *answered(uint8_t *at, uint32_t length)
{
    const uint8_t *asked = frame + 4;
    uint32_t offset = length >= 4 ? number(asked, 4) : 0;
    uint32_t count = length >= 6 ? number(asked + 4, 2) : 0;
    switch (frame[0]) {
    case HELLO:
        return hello(at);
    case INPUT:
        if (length < 4 || offset > NET_INPUT_BYTES || length - 4 > NET_INPUT_BYTES - offset)
            return NULL;
        memcpy(net_input() + offset, asked + 4, length - 4);
        return at;
    case RUN:
        return run(at);
    case OUTPUT:
        if (length < 6 || count > MOST || offset > NET_OUTPUT_BYTES || count > NET_OUTPUT_BYTES - offset)
            return NULL;
        memcpy(at, (const uint8_t *)output + offset, count);
        return at + count;
    case LAYERS:
        if (length < 6 || count > MOST / 4 || offset > NET_LAYERS || count > NET_LAYERS - offset)
            return NULL;
        for (; count; count--, offset++)
            at = put(at, nas_region_ticks(NAS_FIRST_LAYER + offset), 4);
        return at;
    default:
        return NULL;
    }
}

void nas_serve(void)
{
    for (;;) {
        uint32_t length = receive();
        if (answer_length == 0 || frame[1] != answer[1] || frame[0] == HELLO) {
            uint8_t *end = answered(answer + 4, length);
            answer[0] = end ? frame[0] : REFUSED;
            answer[1] = frame[1];
            if (end == NULL)
                end = answer + 4;
            put(answer + 2, (uint32_t)(end - answer - 4), 2);
            end = put(end, crc32(answer, (uint32_t)(end - answer)), 4);
            answer_length = (uint32_t)(end - answer);
        }
        send_answer();
    }
}
