/* sequences_direct.c -- keys or values without weights, for timing kernels; see sequences.h.
 *
 * Each head on its own: x_t = mean + U diag(i^-decay) f_t, U a structured orthogonal matrix, f an
 * AR(1) process whose steps are multivariate Student-t(5): one heavy-tailed size a step, so that a
 * value costs one normal. Channels have variance 1 on average over the head. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "orthogonal.h"
#include "random.h"
#include "sequences.h"

enum { LANES = ORTHOGONAL_LANES, STUDENT_DEGREES = 5, STREAM_DIRECT = 0x200 };

/* The streams of one head: bits of (its stream, kind). */
enum { KIND_STEPS, KIND_SIZES, KIND_MEAN, KIND_BASIS, KINDS };

typedef struct {
    const SequencesParams *params;
    uint64_t streams[KINDS];
    size_t tokens, heads, dim;
    const double *spectrum; /* [dim] */
} Direct;

/* sqrt(3 / chi^2): what makes a normal vector Student-t(5) of variance 1. */
static double step_size(const Direct *d, size_t t) {
    double squares = 0;
    for (uint64_t i = 0; i < STUDENT_DEGREES; i++) {
        const double x =
            random_normal(d->params->seed, d->streams[KIND_SIZES], t * STUDENT_DEGREES + i);
        squares += x * x;
    }
    return sqrt((STUDENT_DEGREES - 2) / squares);
}

static void advance(const Direct *d, size_t t, double *state) {
    const double rho = t ? d->params->topic_rho : 0;
    const double step = sqrt(1 - rho * rho) * step_size(d, t);
    for (size_t i = 0; i < d->dim; i++)
        state[i] = rho * state[i] + step * random_normal(d->params->seed, d->streams[KIND_STEPS],
                                                         (uint64_t)t * d->dim + i);
}

/* Tokens in groups of lanes: factors into a column each, U, mean, and out. work: state, then two
 * blocks [dim, lanes], then the mean. */
static void fill_head(const Direct *d, const Orthogonal *basis, double *state, float *work,
                      float *x) {
    float *factors = work, *scratch = work + d->dim * LANES, *mean = scratch + d->dim * LANES;
    for (size_t i = 0; i < d->dim; i++)
        mean[i] = (float)(d->params->mean_weight *
                          random_normal(d->params->seed, d->streams[KIND_MEAN], i));
    for (size_t from = 0; from < d->tokens; from += LANES) {
        const size_t lanes = d->tokens - from < LANES ? d->tokens - from : LANES;
        for (size_t lane = 0; lane < lanes; lane++) {
            advance(d, from + lane, state);
            for (size_t i = 0; i < d->dim; i++)
                factors[i * LANES + lane] = (float)(d->spectrum[i] * state[i]);
        }
        orthogonal_apply(basis, factors, scratch);
        for (size_t lane = 0; lane < lanes; lane++) {
            float *row = x + (from + lane) * d->heads * d->dim;
            for (size_t i = 0; i < d->dim; i++) row[i] = mean[i] + factors[i * LANES + lane];
        }
    }
}

/* i^-decay, scaled to a mean square of 1. */
static void fill_spectrum(double decay, size_t dim, double *spectrum) {
    double square = 0;
    for (size_t i = 0; i < dim; i++) {
        spectrum[i] = pow((double)(i + 1), -decay);
        square += spectrum[i] * spectrum[i];
    }
    for (size_t i = 0; i < dim; i++) spectrum[i] *= sqrt((double)dim / square);
}

static void head_streams(const SequencesParams *params, uint64_t stream, size_t head,
                         uint64_t streams[KINDS]) {
    const uint64_t own =
        random_bits(params->seed, random_bits(params->seed, STREAM_DIRECT, stream), head);
    for (uint64_t kind = 0; kind < KINDS; kind++)
        streams[kind] = random_bits(params->seed, own, kind);
}

Status sequences_direct(const SequencesParams *params, uint64_t stream, size_t tokens, size_t heads,
                        size_t dim, double decay, float *x, Error *err) {
    if (tokens == 0 || heads == 0 || dim == 0)
        return fail(err, ERR_INPUT, "a sequence needs at least one token, head and channel");
    if (!(params->topic_rho > -1 && params->topic_rho < 1))
        return fail(err, ERR_INPUT, "sequences.topic_rho is %g; between -1 and 1 is allowed",
                    params->topic_rho);
    static const char what[] = "direct sequences";
    const size_t room = dim * (2 * LANES + 1);
    double *spectrum = NULL, *states = NULL;
    float *work = NULL;
    Orthogonal *bases = NULL;
    Status status = BUFFER(&spectrum, dim, what, err);
    if (status == OK) status = BUFFER(&states, heads * dim, what, err);
    if (status == OK) status = BUFFER(&work, heads * room, what, err);
    if (status == OK) status = BUFFER(&bases, heads, what, err);
    for (size_t head = 0; status == OK && head < heads; head++) {
        uint64_t streams[KINDS];
        head_streams(params, stream, head, streams);
        status = orthogonal_new(&bases[head], dim, params->seed, streams[KIND_BASIS], err);
    }
    if (status == OK) {
        fill_spectrum(decay, dim, spectrum);
#pragma omp parallel for schedule(static)
        for (size_t head = 0; head < heads; head++) {
            Direct d = {
                .params = params, .tokens = tokens, .heads = heads, .dim = dim, .spectrum = spectrum
            };
            head_streams(params, stream, head, d.streams);
            fill_head(&d, &bases[head], states + head * dim, work + head * room, x + head * dim);
        }
    }
    for (size_t head = 0; bases && head < heads; head++) orthogonal_free(&bases[head]);
    buffer_free(bases);
    buffer_free(work);
    buffer_free(states);
    buffer_free(spectrum);
    return status;
}
