/* bench_verify.h -- the cases of kernels/cases.h checked against fp64: the same scenes that are
 * timed, at short and odd lengths, for every tier.
 *
 * Whole numbers must come out equal to the bit wherever their sums are exact in float; numbers
 * drawn at random within a bound that follows from the operands' rounding and the width of a row,
 * element by element, and within a few roundings as a whole. Stored rows must be the same in every
 * tier. Guard bands must stay, inputs too. */
#ifndef KVLAB_BENCH_VERIFY_H
#define KVLAB_BENCH_VERIFY_H

#include "error.h"
#include "json.h"
#include "kernel.h"

enum {
    VERIFY_NAME = 160,
    VERIFY_TABLES_MOST = 16,
    VERIFY_FAILURES_MOST = 20,
    VERIFY_ACCURACIES_MOST = 64
};

/* Names in a report are borrowed: constant texts, and those of the tables. */

/* A table of kernels under the name of its tier. */
typedef struct {
    const char *isa;
    Kernels kernels;
} VerifyTable;

typedef struct {
    const char *filter; /* over names of cases; NULL: all */
    int threads;
    void (*progress)(void *context, const char *line); /* may be NULL */
    void *context;
} VerifyParams;

typedef struct {
    char name[VERIFY_NAME];
    const char *isa;
    char what[160];
} VerifyFailure;

/* How the relative error (Frobenius, against fp64) of a decode moves with length. */
typedef struct {
    const char *name, *isa, *kv_dtype;
    size_t tokens[2];
    double rel_error[2];
} VerifyAccuracy;

typedef struct {
    const char *isa;
    size_t checks, failed;
    double worst; /* error over its bound, of numbers drawn at random */
} VerifyTier;

typedef struct {
    size_t cases;         /* of the list, lengths apart */
    size_t checks;        /* a case, a length, a kind of numbers, a tier */
    size_t values, exact; /* results compared; those demanded to the bit */
    size_t failed;        /* checks */
    VerifyTier tier[VERIFY_TABLES_MOST];
    size_t tiers;
    VerifyFailure failure[VERIFY_FAILURES_MOST]; /* the first of them */
    VerifyAccuracy accuracy[VERIFY_ACCURACIES_MOST];
    size_t accuracies;
} VerifyReport;

/* The tables of all tiers that this machine runs, each with those below it; of `isa` alone where
 * that is not NULL. Errors: ERR_INPUT for a tier that is none, or that this machine lacks. */
Status verify_tables(const char *isa, VerifyTable tables[VERIFY_TABLES_MOST], size_t *count,
                     Error *err);

/* Checks every selected case with every table. A failed check is no error of the call: it is in the
 * report. Errors: ERR_INPUT for the filter; ERR_MACHINE for lack of memory, or when there is no
 * table to check. */
Status bench_verify(const VerifyParams *params, size_t count, const VerifyTable *tables,
                    VerifyReport *report, Error *err);

/* For people, and as JSON. */
void verify_write(const VerifyReport *report, FILE *out);
Json *verify_to_json(const VerifyReport *report);

#endif
