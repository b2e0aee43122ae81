/* bench_figure.c -- marks by kind under the machine's roofs; see bench_figure.h. Shares its
 * template with the roofline of a study. */
#include "bench_figure.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "figure.h"
#include "gnuplot.h"

/* The colours of Okabe and Ito that reports give these kinds, and filled marks of gnuplot (one less
 * is the open one). */
static const struct {
    const char *kind, *label;
    unsigned colour;
    int mark;
} looks[] = {
    { "mha", "MHA", 0x000000, 5 },
    { "gqa", "GQA", 0xe69f00, 7 },
    { "mqa", "MQA", 0x009e73, 9 },
    { "mla", "MLA", 0x0072b2, 11 },
    { "projection", "projections", 0xcc79a7, 13 },
};
enum { LOOKS = sizeof looks / sizeof *looks };

static bool is_drawn(const BenchMark *mark) {
    return mark->intensity > 0 && mark->gflops > 0;
}

/* A group is a kind, filled (0) or open (1). */
static bool in_group(const BenchMark *mark, size_t look, bool open) {
    return is_drawn(mark) && strcmp(mark->kind, looks[look].kind) == 0 &&
           (strcmp(mark->phase, "decode") != 0) == open;
}

static size_t group_size(size_t count, const BenchMark *marks, size_t look, bool open) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += in_group(&marks[i], look, open);
    return size;
}

/* Writes the data of all groups with their looks; returns how many there are. */
static size_t write_groups(Drawing *d, size_t count, const BenchMark *marks, Axis *x, Axis *y) {
    size_t groups = 0;
    fprintf(d->data.stream, "group\tcase\tkind\tphase\tintensity\tgflops\n");
    for (size_t look = 0; look < LOOKS; look++)
        for (int open = 0; open < 2; open++) {
            if (!group_size(count, marks, look, open)) continue;
            figure_number_item(d, "colour", groups, looks[look].colour);
            figure_number_item(d, "mark", groups++, looks[look].mark - open);
            for (size_t i = 0; i < count; i++) {
                const BenchMark *m = &marks[i];
                if (!in_group(m, look, open)) continue;
                fprintf(d->data.stream, "%zu\t", groups);
                figure_field(d->data.stream, m->name);
                fprintf(d->data.stream, "\t%s\t%s\t%.9g\t%.9g\n", m->kind, m->phase, m->intensity,
                        m->gflops);
                axis_hold(x, m->intensity);
                axis_hold(y, m->gflops);
            }
        }
    return groups;
}

static void write_legend(Drawing *d, size_t count, const BenchMark *marks) {
    size_t entries = 0;
    const char *const arrays[] = { "entry", "entry_colour", "entry_mark" };
    for (size_t i = 0; i < 3; i++) figure_array(d, arrays[i], LOOKS);
    for (size_t look = 0; look < LOOKS; look++) {
        const bool decode = group_size(count, marks, look, false);
        if (!decode && !group_size(count, marks, look, true)) continue;
        figure_item(d, "entry", entries, looks[look].label);
        figure_number_item(d, "entry_colour", entries, looks[look].colour);
        figure_number_item(d, "entry_mark", entries++, looks[look].mark - !decode);
    }
    figure_number(d, "M", (double)entries);
}

/* The highest peak bends the roof; lower ones are levels below it. */
static double write_peaks(Drawing *d, const BenchRoofs *roofs) {
    static const char *const names[] = { "int8 dot", "bf16 dot", "fp32 FMA" };
    static const char *const units[] = { "GOP/s", "GFLOP/s", "GFLOP/s" };
    const double rates[] = { roofs->dot_int8, roofs->dot_bf16, roofs->fma_f32 };
    double top = 0;
    size_t levels = 0;
    figure_array(d, "level", 2);
    figure_array(d, "level_text", 2);
    for (size_t i = 0; i < 3; i++) {
        char text[64];
        if (rates[i] <= 0) continue;
        snprintf(text, sizeof text, "%s %.4g %s", names[i], rates[i], units[i]);
        if (top == 0) {
            top = rates[i];
            figure_text(d, "peak_text", text);
            continue;
        }
        figure_number_item(d, "level", levels, rates[i]);
        figure_item(d, "level_text", levels++, text);
    }
    figure_number(d, "levels", (double)levels);
    figure_number(d, "peak", top);
    return top;
}

static void write_roofs(Drawing *d, const BenchRoofs *roofs) {
    char text[64];
    figure_number(d, "memory", roofs->memory);
    figure_number(d, "cache", roofs->cache);
    snprintf(text, sizeof text, "memory read %.3g GB/s", roofs->memory);
    figure_text(d, "memory_text", text);
    snprintf(text, sizeof text, "LLC read %.3g GB/s", roofs->cache);
    figure_text(d, "cache_text", text);
}

static void write_all(Drawing *d, const BenchRoofs *roofs, size_t count, const BenchMark *marks) {
    Axis x = { 0 }, y = { 0 };
    figure_array(d, "colour", 2 * LOOKS);
    figure_array(d, "mark", 2 * LOOKS);
    const size_t groups = write_groups(d, count, marks, &x, &y);
    figure_number(d, "N", (double)groups);
    write_legend(d, count, marks);
    write_roofs(d, roofs);
    const double peak = write_peaks(d, roofs);
    axis_hold(&x, peak / roofs->memory * 3);
    axis_hold(&x, peak / roofs->memory / 8);
    axis_hold(&y, peak * 1.3);
    axis_hold(&y, roofs->memory * x.low);
    axis_snap(&x);
    axis_snap(&y);
    figure_text(d, "x_label", "intensity (flop/B)");
    figure_text(d, "y_label", "attained (GFLOP/s)");
    axis_write(d, "x", &x);
    axis_write(d, "y", &y);
}

static Status draw(const char *folder, char *note, size_t size, Error *err) {
    GnuplotResult result;
    char complaint[160] = "";
    TRY(gnuplot_run(folder, "roofline", &result, complaint, sizeof complaint, err));
    if (result == GNUPLOT_MISSING)
        snprintf(note, size,
                 "gnuplot is missing, so the roofline was not drawn; install it, then: gnuplot "
                 "roofline.gp in %s",
                 folder);
    else if (result == GNUPLOT_FAILED)
        snprintf(note, size, "gnuplot failed on roofline.gp: %s", complaint);
    return OK;
}

Status bench_figure_write(const char *folder, const BenchRoofs *roofs, size_t count,
                          const BenchMark *marks, char *note, size_t size, Error *err) {
    Figure figure = { .name = "roofline", .title = "Attention kernels on this machine's roofline" };
    size_t drawn = 0;
    for (size_t i = 0; i < count; i++) drawn += is_drawn(&marks[i]);
    note[0] = '\0';
    if (!drawn || roofs->memory <= 0 || roofs->fma_f32 <= 0) {
        snprintf(note, size, "no case has both flops and bytes: no roofline is drawn");
        return OK;
    }
    snprintf(
        figure.subtitle, sizeof figure.subtitle,
        "%.120s; measured: rates and roofs; exact: intensity; filled marks decode, open others",
        roofs->machine);
    Drawing d;
    TRY(figure_begin(&d, folder, &figure, err));
    write_all(&d, roofs, count, marks);
    TRY(figure_end(&d, OK, "roofline", err));
    return draw(folder, note, size, err);
}
