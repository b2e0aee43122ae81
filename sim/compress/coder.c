/* coder.c -- integers with steps, codebook indices, and how codes are packed; see coder.h. */
#include "coder.h"

#include <math.h>
#include <string.h>

enum { HALF = 2 }; /* bytes of an f16 */

/* ---- which coder ---- */

const char *codec_unheld(const Codec *codec) {
    RowType type;
    if (codec->kind == CODEC_NOMINAL) return "a count of bits, not a codec";
    if (codec->kind == CODEC_ROWS && !row_type_parse(codec->name, &type))
        return "a layout that is counted, not held";
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
        c.group_bytes = 2 * HALF * format.coded;
    } else {
        c.row_bytes = codec_row_bytes(codec, latent, format.coded) + beside;
    }
    if (codec->kind == CODEC_TURBOQUANT) c.codebook = codebook_normal(codec->bits);
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

/* ---- codes in planes ---- */

/* The widest plane that fits what is left of the bits. */
static unsigned plane_width(unsigned bits) {
    return bits >= 8 ? 8 : bits >= 4 ? 4 : bits >= 2 ? 2 : 1;
}

static size_t code_bytes(const Coder *c, size_t n) {
    return n * c->codec.bits / 8;
}

/* Code i of n, whose bytes are 0 before the first. */
static void put_code(size_t n, unsigned bits, size_t i, unsigned code, unsigned char *bytes) {
    for (unsigned shift = 0, width; shift < bits; shift += width) {
        width = plane_width(bits - shift);
        const size_t count = n * width / 8;
        const unsigned part = code >> shift & ((1u << width) - 1);
        bytes[i % count] |= (unsigned char)(part << (unsigned)(i / count) * width);
        bytes += count;
    }
}

/* n codes as floats. */
static void get_codes(size_t n, unsigned bits, const unsigned char *bytes, float *restrict x) {
    for (unsigned shift = 0, width; shift < bits; shift += width) {
        width = plane_width(bits - shift);
        const size_t count = n * width / 8;
        const unsigned mask = (1u << width) - 1;
        const float weight = (float)(1u << shift), kept = shift ? 1.0f : 0.0f;
        for (unsigned part = 0; part < 8 / width; part++) {
            float *restrict at = x + part * count;
            for (size_t i = 0; i < count; i++) {
                const float code = (float)(int)(bytes[i] >> part * width & mask);
                at[i] = shift ? kept * at[i] + weight * code : code;
            }
        }
        bytes += count;
    }
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

/* As it is when it has been stored. */
static float halved(const Kernels *kernels, float x) {
    unsigned char bytes[HALF];
    put_halves(kernels, 1, &x, bytes);
    get_halves(kernels, 1, bytes, &x);
    return x;
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

/* Step and least value of n numbers, `stride` apart, as they are stored. */
static void fit(const Kernels *kernels, unsigned bits, size_t n, const float *x, size_t stride,
                float *step, float *least) {
    float low = x[0], high = x[0];
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        const float value = x[i * stride];
        finite = finite && isfinite(value);
        low = fminf(low, value);
        high = fmaxf(high, value);
    }
    *step = halved(kernels, (high - low) / (float)((1u << bits) - 1));
    *least = halved(kernels, low);
    if (!finite || !isfinite(*step) || !isfinite(*least)) *step = *least = NAN;
}

static unsigned code_of(float x, float step, float least, unsigned bits) {
    const float most = (float)((1u << bits) - 1);
    if (!(step > 0)) return 0;
    return (unsigned)fminf(fmaxf(nearbyintf((x - least) / step), 0), most);
}

static size_t group_of(const Coder *c) {
    return c->codec.group ? c->codec.group : c->format.coded;
}

static void encode_ints(const Coder *c, const Kernels *kernels, const float *x,
                        unsigned char *row) {
    const unsigned bits = c->codec.bits;
    const size_t group = group_of(c), groups = c->format.coded / group;
    unsigned char *codes = row + 2 * HALF * groups;
    for (size_t g = 0; g < groups; g++) {
        const float *values = x + g * group;
        unsigned char *bytes = codes + g * code_bytes(c, group);
        float step, least;
        fit(kernels, bits, group, values, 1, &step, &least);
        put_halves(kernels, 1, &step, row + HALF * g);
        put_halves(kernels, 1, &least, row + HALF * (groups + g));
        memset(bytes, 0, code_bytes(c, group));
        for (size_t i = 0; i < group; i++)
            put_code(group, bits, i, code_of(values[i], step, least, bits), bytes);
    }
}

static void decode_ints(const Coder *c, const Kernels *kernels, const unsigned char *row,
                        float *x) {
    const size_t group = group_of(c), groups = c->format.coded / group;
    const unsigned char *codes = row + 2 * HALF * groups;
    for (size_t g = 0; g < groups; g++) {
        float *values = x + g * group, step, least;
        get_halves(kernels, 1, row + HALF * g, &step);
        get_halves(kernels, 1, row + HALF * (groups + g), &least);
        get_codes(group, c->codec.bits, codes + g * code_bytes(c, group), values);
        for (size_t i = 0; i < group; i++) values[i] = least + step * values[i];
    }
}

void coder_encode_group(const Coder *coder, const Kernels *kernels, const float *x, size_t ld,
                        unsigned char *rows, unsigned char *scales) {
    const size_t n = coder->format.coded, group = coder->codec.group;
    const unsigned bits = coder->codec.bits;
    for (size_t t = 0; t < group; t++) {
        memset(rows + t * coder->row_bytes, 0, code_bytes(coder, n));
        put_beside(coder, kernels, x + t * ld, rows + t * coder->row_bytes);
    }
    for (size_t i = 0; i < n; i++) {
        float step, least;
        fit(kernels, bits, group, x + i, ld, &step, &least);
        put_halves(kernels, 1, &step, scales + HALF * i);
        put_halves(kernels, 1, &least, scales + HALF * (n + i));
        for (size_t t = 0; t < group; t++)
            put_code(n, bits, i, code_of(x[t * ld + i], step, least, bits),
                     rows + t * coder->row_bytes);
    }
}

void coder_decode_group(const Coder *coder, const Kernels *kernels, size_t n,
                        const unsigned char *rows, const unsigned char *scales, float *x,
                        size_t ld) {
    const size_t values = coder->format.coded;
    float halves[2 * CODER_CHANNELS_MOST];
    const float *restrict steps = halves, *restrict leasts = halves + values;
    get_halves(kernels, 2 * values, scales, halves);
    for (size_t t = 0; t < n; t++) {
        float *restrict row = x + t * ld;
        get_codes(values, coder->codec.bits, rows + t * coder->row_bytes, row);
        for (size_t i = 0; i < values; i++) row[i] = leasts[i] + steps[i] * row[i];
        get_beside(coder, kernels, rows + t * coder->row_bytes, row);
    }
}

/* ---- turboquant ---- */

static void encode_turboquant(const Coder *c, const Kernels *kernels, const float *x,
                              unsigned char *row) {
    const size_t n = c->format.coded;
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)x[i] * x[i];
    const double norm = sqrt(square), scale = norm > 0 ? sqrt((double)n) / norm : 0;
    const float stored = (float)norm;
    put_halves(kernels, 1, &stored, row);
    memset(row + HALF, 0, code_bytes(c, n));
    for (size_t i = 0; i < n; i++)
        put_code(n, c->codec.bits, i, (unsigned)codebook_code(&c->codebook, scale * x[i]),
                 row + HALF);
}

static void decode_turboquant(const Coder *c, const Kernels *kernels, const unsigned char *row,
                              float *x) {
    enum { CODES = 16 };
    const size_t n = c->format.coded;
    float norm, values[CODES];
    get_halves(kernels, 1, row, &norm);
    for (size_t i = 0; i < c->codebook.count; i++)
        values[i] = (float)(c->codebook.centroid[i] * norm / sqrt((double)n));
    get_codes(n, c->codec.bits, row + HALF, x);
    for (size_t i = 0; i < n; i++) x[i] = values[(int)x[i]];
}

/* ---- a row by token ---- */

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
