/* methods.h -- contenders as compression methods: their family and its colour, which of them differ
 * in size alone, what an error is when it is pooled over layers, how many times less cache. */
#ifndef KVLAB_METHODS_H
#define KVLAB_METHODS_H

#include <stdbool.h>

#include "store.h"

typedef enum {
    FAMILY_TEACHER, /* mha, model: nothing but rows */
    FAMILY_HEADS,   /* key/value heads that are shared */
    FAMILY_MLA,     /* a latent and a rotated key */
    FAMILY_LOWRANK, /* a latent before RoPE */
    FAMILY_CODED,   /* the teacher's rows in fewer bits */
    FAMILY_EVICTED, /* fewer of the teacher's tokens */
    FAMILY_STACK,   /* several of these */
    FAMILIES
} MethodFamily;

/* By a contender's name (CONVERSION[*CODEC][@EVICTION]); what it is called; its colour, of the
 * colour-blind-safe set of Okabe and Ito. */
MethodFamily method_family(const char *name);
const char *method_family_name(MethodFamily family);
unsigned method_family_colour(MethodFamily family);

enum { METHOD_KIND = 96 };

/* A contender's name without its numbers: those of one kind differ in size alone, as
 * lowrank-joint-512 and lowrank-joint-256. The bits of a codec stay. */
void method_kind(const char *name, char kind[METHOD_KIND]);

/* Does it only say what no method can beat: an oracle, which stores all and reads a part? */
bool method_is_bound(const char *name);

/* Is it more than a layer of another shape: a codec, an eviction, a latent before RoPE? */
bool method_is_compression(const char *name);

/* Does a run compare compression methods by their error? Its contenders then have the colour of
 * their family, and figures of their own. */
bool methods_compared(const StoredRun *run);

/* Times less cache than MHA in bf16 of a point: what is stored, or (a bound) what is read. */
double method_ratio(const StoredPoint *point);

#endif
