/* coder.c -- integers with steps, codebook indices, and how codes are packed; see coder.h. */
#include "coder.h"

#include <math.h>
#include <string.h>

enum {
    HALF = 2,           /* bytes of an f16 */
    HALVES_AT_ONCE = 16 /* of the widest registers */
};

/* ---- which coder ---- */

const char *codec_unheld(const Codec *codec) {
    if (codec->kind == CODEC_NOMINAL) return "a count of bits, not a codec";
    return NULL;
}

/* format: of the row type, or n and coded alone. */
static Coder coder_of(const Codec *codec, bool by_channel, bool typed, RowFormat format,
                      bool latent) {
    Coder c = { .codec = *codec, .by_channel = by_channel, .typed = typed, .format = format };
    const size_t beside = HALF * (format.n - format.coded);
    if (typed) {
        c.row_bytes = row_bytes(format);
    } else if (by_channel) {
        c.row_bytes = format.coded * codec->bits / 8 + beside;
        c.group_tokens = codec->group;
        c.group_bytes = 2 * HALF * format.coded;
    } else if (codec->kind == CODEC_ROWS) { /* fp8_model1 */
        c.row_bytes = format.coded + beside;
        c.group_tokens = 1;
        c.group_bytes = codec_row_bytes(codec, latent, format.coded) - format.coded;
    } else {
        c.row_bytes = codec_row_bytes(codec, latent, format.coded) + beside;
    }
    if (codec->kind != CODEC_TURBOQUANT) return c;
    c.codebook = codebook_normal(codec->bits);
    for (size_t i = 0; i < c.codebook.count; i++)
        c.unit[i] = (float)(c.codebook.centroid[i] / sqrt((double)format.coded));
    return c;
}

Coder coder_of_keys(const Codec *codec, const CacheShape *shape) {
    RowType type;
    const bool typed = codec_row_type(codec, codec->k_channel, &type);
    RowFormat format = { .n = shape->key_dim, .coded = codec_key_values(codec, shape) };
    if (typed && shape->shared) {
        const size_t rope = shape->key_dim - shape->value_dim;
        format = codec->rope ? row_format_latent(type, shape->value_dim, rope)
                             : row_format_latent_rope(type, shape->value_dim, rope);
    } else if (typed) {
        format = row_format(type, shape->key_dim);
    }
    return coder_of(codec, codec->k_channel, typed, format, shape->shared);
}

Coder coder_of_values(const Codec *codec, const CacheShape *shape) {
    RowType type;
    const bool typed = codec_row_type(codec, codec->v_channel, &type);
    const RowFormat plain = { .n = shape->value_dim, .coded = shape->value_dim };
    const RowFormat format = typed ? row_format(type, shape->value_dim) : plain;
    return coder_of(codec, codec->v_channel, typed, format, false);
}

/* ---- numbers beside the codes ---- */

static void put_halves(const Kernels *kernels, size_t n, const float *x, unsigned char *to) {
    const RowFormat halves = row_format(ROW_F16, n);
    kernels->encode[ROW_F16](&halves, x, to);
}

static void get_halves(const Kernels *kernels, size_t n, const unsigned char *from, float *x) {
    const RowFormat halves = row_format(ROW_F16, n);
    kernels->decode[ROW_F16](&halves, n, from, x);
}

/* How many halves to read of a row that begins with n: as many as fill registers, where the row is
 * as long. A few alone would cost as much as all of its codes. */
static size_t whole_halves(const Coder *c, size_t n) {
    const size_t whole = (n + HALVES_AT_ONCE - 1) / HALVES_AT_ONCE * HALVES_AT_ONCE;
    return whole * HALF <= c->row_bytes ? whole : n;
}

/* What is not coded follows in bf16. */
static void put_beside(const Coder *c, const Kernels *kernels, const float *x, unsigned char *row) {
    const size_t n = c->format.n - c->format.coded;
    const RowFormat beside = row_format(ROW_BF16, n);
    if (n) kernels->encode[ROW_BF16](&beside, x + c->format.coded, row + c->row_bytes - HALF * n);
}

static void get_beside(const Coder *c, const Kernels *kernels, const unsigned char *row, float *x) {
    const size_t n = c->format.n - c->format.coded;
    const RowFormat beside = row_format(ROW_BF16, n);
    if (n)
        kernels->decode[ROW_BF16](&beside, n, row + c->row_bytes - HALF * n, x + c->format.coded);
}

/* ---- integers ---- */

/* Steps and least values, a channel or a group each: as they are stored, and read back. */
typedef struct {
    float step[CODER_VALUES_MOST], least[CODER_VALUES_MOST];
} Scales;

/* n of each, into bytes [n steps][n least values] and back out of them; beyond f16 there is none.
 */
static void put_scales(const Kernels *kernels, size_t n, unsigned char *bytes, Scales *s) {
    put_halves(kernels, n, s->step, bytes);
    put_halves(kernels, n, s->least, bytes + HALF * n);
    get_halves(kernels, n, bytes, s->step);
    get_halves(kernels, n, bytes + HALF * n, s->least);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(s->step[i]) || !isfinite(s->least[i])) s->step[i] = s->least[i] = NAN;
    put_halves(kernels, n, s->step, bytes);
    put_halves(kernels, n, s->least, bytes + HALF * n);
}

/* Of a range; `finite` is 0, or NaN where a value in it is not finite. */
static void set_scale(Scales *s, size_t i, float low, float high, float finite, float most) {
    s->step[i] = (high - low) / most + finite;
    s->least[i] = low + finite;
}

/* The nearest whole number of steps above the least value, 0 where there is no step. */
static unsigned char code_of(float x, float step, float least, float most) {
    const float steps = step > 0 ? (x - least) / step : 0;
    const float low = steps > 0 ? steps : 0, code = low < most ? low : most;
    return (unsigned char)(code + 0.5f);
}

static size_t group_of(const Coder *c) {
    return c->codec.group ? c->codec.group : c->format.coded;
}

static void encode_ints(const Coder *c, const Kernels *kernels, const float *x,
                        unsigned char *row) {
    const unsigned bits = c->codec.bits;
    const size_t n = c->format.coded, group = group_of(c), groups = n / group;
    const float most = (float)((1u << bits) - 1);
    unsigned char codes[CODER_VALUES_MOST];
    Scales s;
    for (size_t g = 0; g < groups; g++) {
        const float *values = x + g * group;
        float low = values[0], high = values[0], finite = 0;
        for (size_t i = 0; i < group; i++) {
            low = values[i] < low ? values[i] : low;
            high = values[i] > high ? values[i] : high;
            finite += 0 * values[i];
        }
        set_scale(&s, g, low, high, finite, most);
    }
    put_scales(kernels, groups, row, &s);
    for (size_t g = 0; g < groups; g++) {
        const float step = s.step[g], least = s.least[g];
        for (size_t i = g * group; i < (g + 1) * group; i++)
            codes[i] = code_of(x[i], step, least, most);
    }
    kernels->pack_codes(n, bits, codes, row + 2 * HALF * groups);
}

static void decode_ints(const Coder *c, const Kernels *kernels, const unsigned char *row,
                        float *x) {
    const size_t n = c->format.coded, group = group_of(c), groups = n / group;
    float scales[2 * CODER_VALUES_MOST + HALVES_AT_ONCE];
    get_halves(kernels, whole_halves(c, 2 * groups), row, scales);
    kernels->decode_steps(n, group, c->codec.bits, row + 2 * HALF * groups, scales, scales + groups,
                          x);
}

static void encode_channels(const Coder *coder, const Kernels *kernels, const float *x, size_t ld,
                            unsigned char *rows, unsigned char *scales) {
    const size_t n = coder->format.coded, group = coder->codec.group;
    const unsigned bits = coder->codec.bits;
    const float most = (float)((1u << bits) - 1);
    float low[CODER_VALUES_MOST], high[CODER_VALUES_MOST], finite[CODER_VALUES_MOST];
    unsigned char codes[CODER_VALUES_MOST];
    Scales s;
    memcpy(low, x, n * sizeof *low);
    memcpy(high, x, n * sizeof *high);
    memset(finite, 0, n * sizeof *finite);
    for (size_t t = 0; t < group; t++)
        for (size_t i = 0; i < n; i++) {
            const float value = x[t * ld + i];
            low[i] = value < low[i] ? value : low[i];
            high[i] = value > high[i] ? value : high[i];
            finite[i] += 0 * value;
        }
    for (size_t i = 0; i < n; i++) set_scale(&s, i, low[i], high[i], finite[i], most);
    put_scales(kernels, n, scales, &s);
    for (size_t t = 0; t < group; t++) {
        unsigned char *row = rows + t * coder->row_bytes;
        for (size_t i = 0; i < n; i++)
            codes[i] = code_of(x[t * ld + i], s.step[i], s.least[i], most);
        kernels->pack_codes(n, bits, codes, row);
        put_beside(coder, kernels, x + t * ld, row);
    }
}

static void decode_channels(const Coder *coder, const Kernels *kernels, size_t n,
                            const unsigned char *rows, const unsigned char *scales, float *x,
                            size_t ld) {
    const size_t values = coder->format.coded;
    Scales s;
    get_halves(kernels, values, scales, s.step);
    get_halves(kernels, values, scales + HALF * values, s.least);
    for (size_t t = 0; t < n; t++) {
        const unsigned char *row = rows + t * coder->row_bytes;
        kernels->decode_steps(values, 1, coder->codec.bits, row, s.step, s.least, x + t * ld);
        get_beside(coder, kernels, row, x + t * ld);
    }
}

/* ---- fp8_model1 ---- */

enum { E8M0_BIAS = 127, E8M0_NAN = 255, E4M3_MOST = 448 };

/* The e8m0 of n values that share it: the least power of two that is not less than greatest / 448
 * and 1e-4, as fp8_ds_mla has it. */
static unsigned char e8m0_of(size_t n, const float *x) {
    float greatest = 0, finite = 0;
    for (size_t i = 0; i < n; i++) {
        greatest = fabsf(x[i]) > greatest ? fabsf(x[i]) : greatest;
        finite += 0 * x[i];
    }
    if (isnan(finite)) return E8M0_NAN;
    int power;
    const float fraction = frexpf(fmaxf(greatest / E4M3_MOST, 1e-4f), &power);
    return (unsigned char)(E8M0_BIAS + power - (fraction == 0.5f));
}

static float e8m0_value(unsigned char bits) {
    return bits == E8M0_NAN ? NAN : ldexpf(1, bits - E8M0_BIAS);
}

static void encode_model1(const Coder *c, const Kernels *kernels, const float *x,
                          unsigned char *row, unsigned char *scales) {
    const size_t n = c->format.coded, group = c->codec.group;
    const RowFormat cast = row_format_latent(ROW_FP8, n, 0);
    float scaled[CODER_VALUES_MOST];
    memcpy(scaled, x, n * sizeof *scaled);
    memset(scales, 0, c->group_bytes);
    for (size_t g = 0; g < n / group; g++) {
        scales[g] = e8m0_of(group, x + g * group);
        kernels->scale(group, 1 / e8m0_value(scales[g]), scaled + g * group);
    }
    kernels->encode[ROW_FP8](&cast, scaled, row);
    put_beside(c, kernels, x, row);
}

static void decode_model1(const Coder *c, const Kernels *kernels, const unsigned char *row,
                          const unsigned char *scales, float *x) {
    const size_t n = c->format.coded, group = c->codec.group;
    const RowFormat cast = row_format_latent(ROW_FP8, n, 0);
    kernels->decode[ROW_FP8](&cast, n, row, x);
    for (size_t g = 0; g < n / group; g++)
        kernels->scale(group, e8m0_value(scales[g]), x + g * group);
    get_beside(c, kernels, row, x);
}

/* ---- turboquant ---- */

static void encode_turboquant(const Coder *c, const Kernels *kernels, const float *x,
                              unsigned char *row) {
    const size_t n = c->format.coded;
    unsigned char codes[CODER_VALUES_MOST];
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)x[i] * x[i];
    const double norm = sqrt(square);
    const float stored = (float)norm;
    put_halves(kernels, 1, &stored, row);
    memset(codes, 0, n);
    for (size_t e = 0; e + 1 < c->codebook.count; e++) {
        const float edge = (float)(c->codebook.edge[e] * norm / sqrt((double)n));
        for (size_t i = 0; i < n; i++) codes[i] += x[i] > edge;
    }
    kernels->pack_codes(n, c->codec.bits, codes, row + HALF);
}

static void decode_turboquant(const Coder *c, const Kernels *kernels, const unsigned char *row,
                              float *x) {
    float norm[HALVES_AT_ONCE];
    get_halves(kernels, whole_halves(c, 1), row, norm);
    kernels->decode_table(c->format.coded, c->codec.bits, row + HALF, c->unit, *norm, x);
}

/* ---- any row ---- */

void coder_encode_group(const Coder *coder, const Kernels *kernels, const float *x, size_t ld,
                        unsigned char *rows, unsigned char *scales) {
    if (coder->by_channel)
        encode_channels(coder, kernels, x, ld, rows, scales);
    else
        encode_model1(coder, kernels, x, rows, scales);
}

void coder_decode_group(const Coder *coder, const Kernels *kernels, size_t n,
                        const unsigned char *rows, const unsigned char *scales, float *x,
                        size_t ld) {
    if (coder->by_channel)
        decode_channels(coder, kernels, n, rows, scales, x, ld);
    else
        decode_model1(coder, kernels, rows, scales, x);
}

void coder_encode(const Coder *coder, const Kernels *kernels, const float *x, unsigned char *row) {
    if (coder->typed) {
        kernels->encode[coder->format.type](&coder->format, x, row);
        return;
    }
    if (coder->codec.kind == CODEC_TURBOQUANT)
        encode_turboquant(coder, kernels, x, row);
    else
        encode_ints(coder, kernels, x, row);
    put_beside(coder, kernels, x, row);
}

void coder_decode(const Coder *coder, const Kernels *kernels, const unsigned char *row, float *x) {
    if (coder->typed) {
        kernels->decode[coder->format.type](&coder->format, coder->format.n, row, x);
        return;
    }
    if (coder->codec.kind == CODEC_TURBOQUANT)
        decode_turboquant(coder, kernels, row, x);
    else
        decode_ints(coder, kernels, row, x);
    get_beside(coder, kernels, row, x);
}
