/* digest.h -- a number that stands for bytes: the same for the same bytes, another one as soon as a
 * single byte changes (FNV-1a, 64 bits). Finds accidents, not forgery. */
#ifndef KVLAB_DIGEST_H
#define KVLAB_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* Of nothing; the functions below go on from a digest. */
static const uint64_t DIGEST_NOTHING = 0xcbf29ce484222325u;

uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t size);
/* A text with its end, so that "a", "bc" differs from "ab", "c". */
uint64_t digest_text(uint64_t digest, const char *text);
uint64_t digest_whole(uint64_t digest, long long value);
/* All NaNs are one here, and both zeros: a database keeps no more of them. */
uint64_t digest_real(uint64_t digest, double value);

#endif
