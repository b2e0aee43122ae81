/* balance.c -- which share of keys and values in a joint decomposition loses least: tried on the
 * kept sample of the calibration text, at the layer's output, in fp64. */
#include <math.h>

#include "buffer.h"
#include "convert.h"
#include "reference.h"

static const double gammas[] = { 0, 0.25, 0.5, 0.75, 1 };
enum { GAMMAS = sizeof gammas / sizeof *gammas };

/* |y^ - y|F of a recipe on the sample. */
static Status loss_of(const Recipe *recipe, const ConvertSource *source, size_t tokens,
                      const Reference *exact, double *loss, Error *err) {
    Conversion conversion;
    Reference other;
    TRY(convert_layer(&conversion, recipe, source, err));
    Status status = reference_run(&other, &conversion.model, &conversion.weights, tokens,
                                  source->statistics->sample, err);
    if (status == OK) {
        *loss = 0;
        for (size_t i = 0; i < tokens * source->layer->hidden; i++) {
            const double difference = other.y[i] - exact->y[i];
            *loss += difference * difference;
        }
        reference_free(&other);
    }
    convert_free(&conversion);
    return status;
}

Status convert_best_gamma(const Recipe *recipe, const ConvertSource *source, double *gamma,
                          Error *err) {
    const size_t held = source->statistics->tokens;
    const size_t tokens = held < STATISTICS_SAMPLE ? held : STATISTICS_SAMPLE;
    Reference exact;
    TRY(reference_run(&exact, source->layer, source->weights, tokens, source->statistics->sample,
                      err));
    Status status = OK;
    double least = INFINITY;
    for (size_t i = 0; i < GAMMAS && status == OK; i++) {
        Recipe tried = *recipe;
        double loss = INFINITY;
        tried.gamma = gammas[i];
        status = loss_of(&tried, source, tokens, &exact, &loss, err);
        if (status != OK || loss >= least) continue;
        least = loss;
        *gamma = gammas[i];
    }
    reference_free(&exact);
    return status;
}
