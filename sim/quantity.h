/* quantity.h -- numbers as people write them: 32k tokens, 6GiB, 80GB, 0.5. */
#ifndef KVLAB_QUANTITY_H
#define KVLAB_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A whole number, plain or with k, M, G for powers of 1,024 ("32k" is 32,768). No sign, no
 * fraction, no overflow; false otherwise. */
bool quantity_count(const char *text, uint64_t *out);

/* Bytes: a number, plain or with B, kB, MB, GB, TB (powers of ten) or KiB, MiB, GiB, TiB (of two);
 * a fraction is allowed ("2.89GiB"), the result rounded down. */
bool quantity_bytes(const char *text, uint64_t *out);

/* A finite decimal number. */
bool quantity_real(const char *text, double *out);

/* A rate: a number, a prefix of ten (k, M, G, T, P or none) and the unit: "4800GB/s" for unit
 * "B/s". false for anything else and for less than 0. */
bool quantity_rate(const char *text, const char *unit, double *out);

/* A count for people, rounded down, 0 for less: "70,272". */
void quantity_format_count(double value, char *text, size_t size);

/* Bytes for people: exact below a million ("70,272 B"), three digits above ("1.05 GiB"). */
void quantity_format_bytes(double bytes, char *text, size_t size);

#endif
