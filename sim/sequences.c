/* sequences.c -- hidden states with the statistics of a language model's layer inputs; see
 * sequences.h.
 *
 *   e_id    cluster of the token, decaying over the channels, + noise of the token's own
 *   X       (e_id + weight z A + noise) / sd, + mean, each channel times its gain
 *           z a topic, AR(1) with Student-t(5) steps; A [topic_dim, D] of unit rows
 *   row 0   two channels at 50, the rest a tenth of the mean: the massive activations of a first
 *           token
 *   rows    divided by their root mean square
 *
 * What is the model's (embeddings, A, mean, gains, the massive channels) follows from the seed
 * alone; what is the text's (ids, topic, noise) from seed and sequence. The standard deviation is
 * the population's, in closed form, so that two sequences never differ by their scaling. */
#include "sequences.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "buffer.h"
#include "random.h"

/* Streams of random numbers. Those of a text are drawn through text_stream(). */
enum {
    STREAM_CLUSTER_OF,
    STREAM_CLUSTERS,
    STREAM_EMBEDDINGS,
    STREAM_TOPICS,
    STREAM_MEAN,
    STREAM_GAIN,
    STREAM_MASSIVE,
    STREAM_IDS,
    STREAM_TOPIC_STEPS,
    STREAM_TOKEN_NOISE,
    STREAM_OUTLIERS
};

enum { STUDENT_DEGREES = 5, MASSIVE_CHANNELS = 2 };
static const double MASSIVE_VALUE = 50, FIRST_TOKEN_MEAN = 0.1, RMS_EPSILON = 1e-6;

SequencesParams sequences_defaults(void) {
    return (SequencesParams){ .vocabulary = 4096,
                              .clusters = 64,
                              .zipf_offset = 2.7,
                              .embedding_noise = 1.0,
                              .topic_dim = 32,
                              .topic_rho = 0.95,
                              .topic_weight = 0.6,
                              .token_noise = 0.5,
                              .mean_weight = 0.6,
                              .channel_spread = 0.5,
                              .key_decay = 0.5,
                              .value_decay = 0.1,
                              .query_decay = 0.4,
                              .axes_blend = 0.3,
                              .frequency_gain = 2.0,
                              .offset_pairs = 3,
                              .offset_size = 0.4,
                              .key_value_ratio = 4.5,
                              .logit_std = 1.5,
                              .sink_mass = 0.25,
                              .outlier_size = 8.0 };
}

static uint64_t text_stream(const SequencesParams *p, uint64_t kind, uint64_t sequence) {
    return random_bits(p->seed, kind, sequence);
}

/* The tables that all tokens share, and the topic of each. */
typedef struct {
    double *zipf;                 /* [vocabulary], cumulative */
    float *clusters;              /* [clusters, D], decay included */
    float *topics;                /* [topic_dim, D], weight included */
    float *mean, *gain, *inverse; /* [D]; inverse: of the standard deviation */
    float *z;                     /* [tokens, topic_dim] */
} Tables;

static void tables_free(Tables *tables) {
    buffer_free(tables->zipf);
    buffer_free(tables->clusters);
    buffer_free(tables->topics);
    buffer_free(tables->mean);
    buffer_free(tables->gain);
    buffer_free(tables->inverse);
    buffer_free(tables->z);
}

static Status tables_alloc(Tables *tables, const SequencesParams *p, size_t tokens, size_t hidden,
                           Error *err) {
    static const char what[] = "tables of the sequence generator";
    Status status = BUFFER(&tables->zipf, p->vocabulary, what, err);
    if (status == OK) status = BUFFER(&tables->clusters, p->clusters * hidden, what, err);
    if (status == OK) status = BUFFER(&tables->topics, p->topic_dim * hidden, what, err);
    if (status == OK) status = BUFFER(&tables->mean, hidden, what, err);
    if (status == OK) status = BUFFER(&tables->gain, hidden, what, err);
    if (status == OK) status = BUFFER(&tables->inverse, hidden, what, err);
    if (status == OK) status = BUFFER(&tables->z, tokens * p->topic_dim, what, err);
    return status;
}

static void fill_zipf(const SequencesParams *p, double *cumulative) {
    double sum = 0;
    for (size_t k = 0; k < p->vocabulary; k++)
        cumulative[k] = sum += 1 / ((double)(k + 1) + p->zipf_offset);
}

/* The id whose share of the cumulative weights `uniform` falls into. */
static size_t zipf_id(const double *cumulative, size_t vocabulary, double uniform) {
    const double at = uniform * cumulative[vocabulary - 1];
    size_t low = 0, high = vocabulary - 1;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (cumulative[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void fill_channels(const SequencesParams *p, size_t hidden, Tables *tables) {
#pragma omp parallel for schedule(static)
    for (size_t j = 0; j < hidden; j++) {
        const double decay = exp(-(double)j / (double)hidden);
        for (size_t c = 0; c < p->clusters; c++)
            tables->clusters[c * hidden + j] =
                (float)(decay * random_normal(p->seed, STREAM_CLUSTERS, c * hidden + j));
        const double topic = p->topic_dim ? p->topic_weight / sqrt((double)p->topic_dim) : 0;
        for (size_t i = 0; i < p->topic_dim; i++)
            tables->topics[i * hidden + j] =
                (float)(topic * random_normal(p->seed, STREAM_TOPICS, i * hidden + j));
        const double variance = decay * decay + p->embedding_noise * p->embedding_noise +
                                topic * topic * (double)p->topic_dim +
                                p->token_noise * p->token_noise;
        tables->inverse[j] = (float)(1 / sqrt(variance));
        tables->mean[j] = (float)(p->mean_weight * random_normal(p->seed, STREAM_MEAN, j));
        tables->gain[j] = (float)exp(p->channel_spread * random_normal(p->seed, STREAM_GAIN, j));
    }
}

/* Student's t with five degrees of freedom, scaled to variance 1; counters index..index+5. */
static double student(uint64_t seed, uint64_t stream, uint64_t index) {
    double squares = 0;
    for (uint64_t i = 1; i <= STUDENT_DEGREES; i++) {
        const double x = random_normal(seed, stream, index + i);
        squares += x * x;
    }
    return random_normal(seed, stream, index) * sqrt((STUDENT_DEGREES - 2) / squares);
}

/* z_t = rho z_(t-1) + sqrt(1 - rho^2) step: variance 1 from the first token on. */
static void fill_topic(double rho, uint64_t seed, uint64_t stream, size_t tokens, size_t dim,
                       float *z) {
    const double step = sqrt(1 - rho * rho);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < dim; i++) {
        double state = student(seed, stream, i * (STUDENT_DEGREES + 1));
        z[i] = (float)state;
        for (size_t t = 1; t < tokens; t++) {
            state =
                rho * state + step * student(seed, stream, (t * dim + i) * (STUDENT_DEGREES + 1));
            z[t * dim + i] = (float)state;
        }
    }
}

static void normalise(size_t n, double size, float *x) {
    double squares = 0;
    for (size_t j = 0; j < n; j++) squares += (double)x[j] * x[j];
    const float scale = (float)(size / sqrt(squares / (double)n + RMS_EPSILON));
    for (size_t j = 0; j < n; j++) x[j] *= scale;
}

/* The massive channels lie half the width apart. */
static size_t massive_channel(const SequencesParams *p, size_t hidden, size_t i) {
    return (random_bits(p->seed, STREAM_MASSIVE, 0) % hidden + i * (hidden / 2)) % hidden;
}

static void fill_first_token(const SequencesParams *p, const Tables *tables, size_t hidden,
                             float *x) {
    for (size_t j = 0; j < hidden; j++)
        x[j] = (float)FIRST_TOKEN_MEAN * tables->mean[j] * tables->gain[j];
    for (size_t i = 0; i < MASSIVE_CHANNELS; i++)
        x[massive_channel(p, hidden, i)] = (float)MASSIVE_VALUE;
    normalise(hidden, 1, x);
}

size_t sequences_outlier_channel(const SequencesParams *params, size_t hidden, size_t i) {
    return (massive_channel(params, hidden, 0) + 1 + i) % hidden;
}

/* All of them hold a fifth of the token's square. */
double sequences_outlier_amplitude(size_t hidden) {
    return sqrt((double)hidden / 5 / OUTLIER_CHANNELS);
}

/* Leaves the outlier channels to the tokens they are for; the row's mean square is 1 after. */
static void fill_outlier_channels(const SequencesParams *p, uint64_t sequence, size_t t,
                                  size_t hidden, float *x) {
    const uint64_t stream = text_stream(p, STREAM_OUTLIERS, sequence);
    const bool outlier = random_uniform(p->seed, stream, 2 * t) < p->outlier_tokens;
    const uint64_t signs = random_bits(p->seed, stream, 2 * t + 1);
    for (size_t i = 0; i < OUTLIER_CHANNELS; i++) x[sequences_outlier_channel(p, hidden, i)] = 0;
    normalise(hidden, outlier ? sqrt(0.8) : 1, x);
    for (size_t i = 0; outlier && i < OUTLIER_CHANNELS; i++)
        x[sequences_outlier_channel(p, hidden, i)] =
            (float)((signs >> i & 1 ? -1 : 1) * sequences_outlier_amplitude(hidden));
}

static void fill_token(const SequencesParams *p, const Tables *tables, uint64_t sequence, size_t t,
                       size_t hidden, float *x) {
    const uint64_t ids = text_stream(p, STREAM_IDS, sequence);
    const uint64_t noises = text_stream(p, STREAM_TOKEN_NOISE, sequence);
    const size_t id = zipf_id(tables->zipf, p->vocabulary, random_uniform(p->seed, ids, t));
    const size_t cluster = random_bits(p->seed, STREAM_CLUSTER_OF, id) % p->clusters;
    memcpy(x, tables->clusters + cluster * hidden, hidden * sizeof *x);
    for (size_t i = 0; i < p->topic_dim; i++) {
        const float z = tables->z[t * p->topic_dim + i], *topic = tables->topics + i * hidden;
        for (size_t j = 0; j < hidden; j++) x[j] += z * topic[j];
    }
    for (size_t j = 0; j < hidden; j++) {
        const double own = p->embedding_noise *
                           random_normal(p->seed, STREAM_EMBEDDINGS, (uint64_t)id * hidden + j);
        const double noise =
            p->token_noise * random_normal(p->seed, noises, (uint64_t)t * hidden + j);
        x[j] = ((x[j] + (float)(own + noise)) * tables->inverse[j] + tables->mean[j]) *
               tables->gain[j];
    }
    normalise(hidden, 1, x);
    if (p->outlier_tokens > 0) fill_outlier_channels(p, sequence, t, hidden, x);
}

static Status check(const SequencesParams *p, size_t tokens, size_t hidden, Error *err) {
    if (tokens == 0 || hidden == 0)
        return fail(err, ERR_INPUT, "a sequence needs at least one token and one channel");
    if (p->vocabulary == 0 || p->clusters == 0)
        return fail(err, ERR_INPUT,
                    "sequences.vocabulary and sequences.clusters must be at least 1");
    if (!(p->zipf_offset > -1))
        return fail(err, ERR_INPUT, "sequences.zipf_offset is %g; above -1 is allowed",
                    p->zipf_offset);
    if (!(p->topic_rho > -1 && p->topic_rho < 1))
        return fail(err, ERR_INPUT, "sequences.topic_rho is %g; between -1 and 1 is allowed",
                    p->topic_rho);
    if (p->outlier_tokens > 0 && hidden < OUTLIER_HIDDEN)
        return fail(err, ERR_INPUT,
                    "sequences.outlier_tokens needs a hidden size of %d or more, this is %zu",
                    OUTLIER_HIDDEN, hidden);
    return OK;
}

Status sequences_hidden(const SequencesParams *params, uint64_t sequence, size_t tokens,
                        size_t hidden, float *x, Error *err) {
    TRY(check(params, tokens, hidden, err));
    Tables tables = { 0 };
    const Status status = tables_alloc(&tables, params, tokens, hidden, err);
    if (status == OK) {
        fill_zipf(params, tables.zipf);
        fill_channels(params, hidden, &tables);
        fill_topic(params->topic_rho, params->seed,
                   text_stream(params, STREAM_TOPIC_STEPS, sequence), tokens, params->topic_dim,
                   tables.z);
        fill_first_token(params, &tables, hidden, x);
#pragma omp parallel for schedule(static)
        for (size_t t = 1; t < tokens; t++)
            fill_token(params, &tables, sequence, t, hidden, x + t * hidden);
    }
    tables_free(&tables);
    return status;
}
