/* figure.c -- files, axes and words of figures; see figure.h. */
#include "figure.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void put_quoted(FILE *out, const char *text) {
    fputc('\'', out);
    for (const char *c = text; *c; c++) {
        if (*c == '\'') fputc('\'', out);
        fputc((unsigned char)*c < 0x20 ? ' ' : *c, out);
    }
    fputc('\'', out);
}

void figure_text(Drawing *drawing, const char *name, const char *value) {
    fprintf(drawing->commands.stream, "%s = ", name);
    put_quoted(drawing->commands.stream, value);
    fputc('\n', drawing->commands.stream);
}

void figure_number(Drawing *drawing, const char *name, double value) {
    fprintf(drawing->commands.stream, "%s = %.9g\n", name, value);
}

/* gnuplot has no array of no items: an empty one gets one that no loop reaches. */
void figure_array(Drawing *drawing, const char *name, size_t count) {
    fprintf(drawing->commands.stream, "array %s[%zu]\n", name, count ? count : 1);
}

void figure_item(Drawing *drawing, const char *name, size_t index, const char *value) {
    fprintf(drawing->commands.stream, "%s[%zu] = ", name, index + 1);
    put_quoted(drawing->commands.stream, value);
    fputc('\n', drawing->commands.stream);
}

void figure_number_item(Drawing *drawing, const char *name, size_t index, double value) {
    fprintf(drawing->commands.stream, "%s[%zu] = %.9g\n", name, index + 1, value);
}

void figure_field(FILE *data, const char *text) {
    for (const char *c = text; *c; c++) fputc((unsigned char)*c < 0x20 ? ' ' : *c, data);
}

static Status open_part(TextFile *file, const char *folder, const char *name, const char *suffix,
                        Error *err) {
    char leaf[64], path[PATH_SIZE];
    snprintf(leaf, sizeof leaf, "%s.%s", name, suffix);
    TRY(textfile_path(path, folder, leaf, err));
    return textfile_open(file, path, err);
}

Status figure_begin(Drawing *drawing, const char *folder, const Figure *figure, Error *err) {
    TRY(open_part(&drawing->data, folder, figure->name, "tsv", err));
    if (open_part(&drawing->commands, folder, figure->name, "gp", err) != OK)
        return textfile_close(&drawing->data, err->status, err);
    drawing->figure = figure;
    fprintf(drawing->commands.stream,
            "# %s.gp -- draws %s.svg, .pdf and .png from %s.tsv; by hand: gnuplot %s.gp\n",
            figure->name, figure->name, figure->name, figure->name);
    figure_text(drawing, "name", figure->name);
    figure_text(drawing, "title", figure->title);
    figure_text(drawing, "subtitle", figure->subtitle);
    return OK;
}

/* Appends reports/<name>.gp. */
static Status append_template(FILE *out, const char *name, Error *err) {
    char path[PATH_SIZE], block[4096];
    snprintf(path, sizeof path, "%s/%s.gp", KVLAB_REPORTS, name);
    FILE *file = fopen(path, "rb");
    if (!file) return fail(err, ERR_MACHINE, "cannot open %s: %s", path, strerror(errno));
    fputc('\n', out);
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;) fwrite(block, 1, got, out);
    const int broken = ferror(file);
    fclose(file);
    return broken ? fail(err, ERR_MACHINE, "cannot read %s", path) : OK;
}

Status figure_end(Drawing *drawing, Status status, const char *template, Error *err) {
    FILE *out = drawing->commands.stream;
    if (status == OK) status = append_template(out, "style", err);
    if (status == OK) status = append_template(out, template, err);
    status = textfile_close(&drawing->data, status, err);
    return textfile_close(&drawing->commands, status, err);
}

/* ---- axes ---- */

void axis_hold(Axis *axis, double value) {
    if (!(value > 0)) return;
    if (axis->low == 0 || value < axis->low) axis->low = value;
    if (value > axis->high) axis->high = value;
}

/* The greatest of 1, 2, 5 times a power of ten that is not above value. */
static double step_below(double value) {
    const double power = pow(10, floor(log10(value)));
    for (double step = 5; step >= 2; step -= 3)
        if (power * step <= value * (1 + 1e-9)) return power * step;
    return power;
}

static double step_above(double value) {
    const double power = pow(10, floor(log10(value)));
    if (power >= value * (1 - 1e-9)) return power;
    for (double step = 2; step <= 5; step += 3)
        if (power * step >= value * (1 - 1e-9)) return power * step;
    return power * 10;
}

void axis_snap(Axis *axis) {
    axis->low = step_below(axis->low / 1.08);
    axis->high = step_above(axis->high * 1.08);
}

double axis_place(const Axis *axis, double value) {
    return log(value / axis->low) / log(axis->high / axis->low);
}

/* 20000 as 20k: short marks whatever the unit. */
static void mark_text(double value, char *text, size_t size) {
    if (value >= 1e6)
        snprintf(text, size, "%gM", value / 1e6);
    else if (value >= 1e4)
        snprintf(text, size, "%gk", value / 1e3);
    else
        snprintf(text, size, "%g", value);
}

/* The variable <name>: a list of marks for `set tics`, with or without their texts. */
static void write_marks(FILE *out, const char *name, const Axis *axis, bool texts) {
    enum { MARKS_MOST = 10 };
    const bool sparse = 3 * log10(axis->high / axis->low) + 1 > MARKS_MOST + 0.5;
    const char *comma = "";
    fprintf(out, "%s = \"(", name);
    for (double at = axis->low; at <= axis->high * 1.001; at = step_above(at * 1.5)) {
        const double power = pow(10, round(log10(at)));
        if (sparse && fabs(at / power - 1) > 1e-6) continue;
        char text[32];
        mark_text(at, text, sizeof text);
        fprintf(out, "%s'%s' %.9g", comma, texts ? text : "", at);
        comma = ", ";
    }
    fprintf(out, ")\"\n");
}

void axis_write(Drawing *drawing, const char *name, const Axis *axis) {
    FILE *out = drawing->commands.stream;
    char list[32];
    fprintf(out, "%s_low = %.9g\n%s_high = %.9g\n", name, axis->low, name, axis->high);
    snprintf(list, sizeof list, "%s_tics", name);
    write_marks(out, list, axis, true);
    snprintf(list, sizeof list, "%s_blanks", name);
    write_marks(out, list, axis, false);
}

void axis_write_tokens(Drawing *drawing, const char *name, const Axis *axis) {
    FILE *out = drawing->commands.stream;
    const double first = exp2(ceil(log2(axis->low) - 1e-9));
    const double step = log2(axis->high / axis->low) > 9 ? 4 : 2;
    fprintf(out, "%s_low = %.9g\n%s_high = %.9g\n%s_tics = \"(", name, axis->low, name, axis->high,
            name);
    for (double at = first; at <= axis->high * 1.001; at *= step) {
        char text[32];
        if (at >= 1)
            format_tokens((size_t)at, text, sizeof text);
        else
            snprintf(text, sizeof text, "%g", at);
        fprintf(out, "%s'%s' %.9g", at > first ? ", " : "", text, at);
    }
    fprintf(out, ")\"\n");
}

static void sort_places(const double *places, size_t *order, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && places[order[at - 1]] > places[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

void figure_spread(double *places, size_t *order, size_t count, double gap) {
    sort_places(places, order, count);
    for (int round = 0; round < 200; round++)
        for (size_t i = 1; i < count; i++) {
            double *below = &places[order[i - 1]], *above = &places[order[i]];
            const double lack = gap - (*above - *below);
            if (lack <= 0) continue;
            *below -= lack / 2;
            *above += lack / 2;
        }
}

/* ---- words ---- */

void format_whole_bytes(double bytes, char *text, size_t size) {
    char plain[32];
    const int digits = snprintf(plain, sizeof plain, "%.0f", bytes);
    size_t at = 0;
    for (int i = 0; i < digits && at + 2 < size; i++) {
        if (i && (digits - i) % 3 == 0) text[at++] = ',';
        text[at++] = plain[i];
    }
    snprintf(text + at, size - at, " B");
}

void format_tokens(size_t tokens, char *text, size_t size) {
    if (tokens >= 1048576 && tokens % 1048576 == 0)
        snprintf(text, size, "%zuM", tokens / 1048576);
    else if (tokens >= 1024 && tokens % 1024 == 0)
        snprintf(text, size, "%zuK", tokens / 1024);
    else if (tokens >= 10000)
        snprintf(text, size, "%zu,%03zu", tokens / 1000, tokens % 1000);
    else
        snprintf(text, size, "%zu", tokens);
}

void format_time(double ns, char *text, size_t size) {
    static const struct {
        double ns;
        const char *name;
    } units[] = { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "µs" }, { 1, "ns" } };
    size_t unit = 0;
    while (unit < 3 && ns < units[unit].ns) unit++;
    const double value = ns / units[unit].ns;
    const int digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
    snprintf(text, size, "%.*f %s", digits, value, units[unit].name);
}

void format_ratio(double ratio, char *text, size_t size) {
    snprintf(text, size, ratio >= 99.95 ? "%.0fx" : ratio >= 9.995 ? "%.1fx" : "%.2fx", ratio);
}
