/* audit.h -- what the usual formulas for a KV cache give for a model, beside what it takes.
 * `exact`.
 *
 * The formulas are those of public calculators, as they read a config.json: by a few of its keys.
 * Each row says what the formula does and where it is found; capacity tools differ by 0.39x to 71x
 * on one file. A formula that is wrong of the mathematics can be right of a naive engine. */
#ifndef KVLAB_AUDIT_H
#define KVLAB_AUDIT_H

#include "plan.h"

enum { AUDIT_ROWS_MOST = 24 };

/* The keys that calculators read, as a file states them. */
typedef struct {
    size_t layers, heads, kv_heads, hidden;
    size_t head_dim;                 /* hidden / heads where the file has none */
    size_t latent_key, latent_value; /* P + R and V of MLA, else 0 */
} StatedKeys;

typedef struct {
    const char *formula; /* "2 x kv heads x head_dim, every layer" */
    const char *cause;   /* why that is not what is cached */
    const char *seen;    /* a public tool that does it, "" where it is only tempting */
    double bytes;        /* of one sequence, by the formula */
    double truth;        /* of the same, by kvlab */
    double factor;       /* bytes / truth */
} AuditRow;

typedef struct {
    AuditRow row[AUDIT_ROWS_MOST];
    size_t count;
} Audit;

/* Reads the keys from the file that a model's name stands for. A file that is no config.json gives
 * the architecture's own. Errors: those of finding and parsing the file. */
Status audit_read_keys(StatedKeys *keys, const char *name, const Architecture *model, Error *err);

/* All formulas that apply to the plan's model at its context, type, engine and tp. `scratch` is
 * overwritten. Errors: those of plan_make. */
Status audit_model(Audit *audit, const StatedKeys *keys, const Plan *plan, Plan *scratch,
                   Error *err);

#endif
