/* digest.c -- FNV-1a; see digest.h. */
#include "digest.h"

#include <math.h>
#include <string.h>

uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t size) {
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < size; i++) digest = (digest ^ byte[i]) * 0x100000001b3u;
    return digest;
}

uint64_t digest_text(uint64_t digest, const char *text) {
    return digest_bytes(digest, text, strlen(text) + 1);
}

uint64_t digest_whole(uint64_t digest, long long value) {
    return digest_bytes(digest, &value, sizeof value);
}

uint64_t digest_real(uint64_t digest, double value) {
    if (isnan(value)) return digest_text(digest, "nan");
    const double kept = value == 0 ? 0 : value;
    return digest_bytes(digest, &kept, sizeof kept);
}
