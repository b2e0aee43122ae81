/* store_digest.c -- which parts of a row its digest covers: all but the numbers of rows, which are
 * shifted when runs are merged. */
#include "store_digest.h"

uint64_t store_digest_texts(size_t count, const char *const *texts) {
    uint64_t digest = DIGEST_NOTHING;
    for (size_t i = 0; i < count; i++) digest = digest_text(digest, texts[i]);
    return digest;
}

uint64_t store_digest_point(const Point *p) {
    const char *const texts[] = { p->key,
                                  p->phase,
                                  p->contender,
                                  p->label,
                                  p->attention,
                                  p->path,
                                  p->kv_dtype,
                                  p->layer,
                                  p->message,
                                  p->host,
                                  point_status_name(p->status) };
    const size_t counts[] = { p->context_tokens, p->query_tokens, p->sequences, p->place,
                              (size_t)p->rank };
    uint64_t digest = store_digest_texts(sizeof texts / sizeof *texts, texts);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        digest = digest_whole(digest, (long long)counts[i]);
    return digest;
}

uint64_t store_digest_metric(uint64_t digest, const Metric *m) {
    digest = digest_text(digest, m->name);
    digest = digest_text(digest, m->unit);
    digest = digest_text(digest, metric_kind_name(m->kind));
    digest = digest_real(digest, m->value);
    digest = digest_real(digest, m->low);
    return digest_real(digest, m->high);
}

uint64_t store_digest_sample(uint64_t digest, size_t place, double value) {
    return digest_real(digest_whole(digest, (long long)place), value);
}
