/* ranks.c -- where this process stands in a job, by the names that MPI's starters use. */
#include "ranks.h"

#include <stdlib.h>

/* The first of these variables that is set, as a number; otherwise `otherwise`. */
static int read_number(const char *const *names, int otherwise) {
    for (; *names; names++) {
        const char *text = getenv(*names);
        if (text && *text) return atoi(text);
    }
    return otherwise;
}

RankPlace ranks_place(void) {
    static const char *const sizes[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", NULL };
    static const char *const numbers[] = { "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", NULL };
    static const char *const locals[] = { "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS",
                                          "PMI_LOCAL_SIZE", NULL };
    static const char *const tasks[] = { "SLURM_STEP_NUM_TASKS", NULL };
    RankPlace place = { 1, 0, 1 };
    /* Slurm's own starter sets PMIX_RANK and leaves the size to its own variable. */
    place.size = read_number(sizes, getenv("PMIX_RANK") ? read_number(tasks, 1) : 1);
    if (place.size < 2) return (RankPlace){ 1, 0, 1 };
    place.number = read_number(numbers, 0);
    place.local_size = read_number(locals, 1);
    return place;
}
