/* page.c -- HTML and Markdown; see page.h. */
#include "page.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

void row_add(Row *row, const char *format, ...) {
    if (row->count == CELLS_MOST) return;
    va_list args;
    va_start(args, format);
    vsnprintf(row->cells[row->count], sizeof row->cells[row->count], format, args);
    va_end(args);
    row->count++;
}

static void put_html(FILE *out, const char *text) {
    for (const char *c = text; *c; c++) {
        const char *const entity = *c == '&'   ? "&amp;"
                                   : *c == '<' ? "&lt;"
                                   : *c == '>' ? "&gt;"
                                   : *c == '"' ? "&quot;"
                                               : NULL;
        if (entity)
            fputs(entity, out);
        else
            fputc((unsigned char)*c < 0x20 ? ' ' : *c, out);
    }
}

static void put_markdown(FILE *out, const char *text) {
    for (const char *c = text; *c; c++) {
        if (strchr("\\`*_[]<>#|~", *c)) fputc('\\', out);
        fputc((unsigned char)*c < 0x20 ? ' ' : *c, out);
    }
}

static void put(const Page *page, const char *text) {
    if (page->html)
        put_html(page->out, text);
    else
        put_markdown(page->out, text);
}

/* before, the text escaped, after: in the page's own language. */
static void wrap(const Page *page, const char *html_before, const char *markdown_before,
                 const char *text, const char *html_after, const char *markdown_after) {
    fputs(page->html ? html_before : markdown_before, page->out);
    put(page, text);
    fputs(page->html ? html_after : markdown_after, page->out);
}

static Status copy_style(FILE *out, Error *err) {
    char path[PATH_SIZE], block[4096];
    snprintf(path, sizeof path, "%s/page.css", KVLAB_REPORTS);
    FILE *file = fopen(path, "rb");
    if (!file) return fail(err, ERR_MACHINE, "cannot open %s: %s", path, strerror(errno));
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;) fwrite(block, 1, got, out);
    fclose(file);
    return OK;
}

Status page_begin(Page *page, const char *title, Error *err) {
    if (page->html) {
        fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
              page->out);
        put_html(page->out, title);
        fputs("</title>\n<style>\n", page->out);
        TRY(copy_style(page->out, err));
        fputs("</style>\n</head>\n<body>\n<main>\n", page->out);
    }
    wrap(page, "<h1>", "# ", title, "</h1>\n", "\n");
    return OK;
}

void page_end(Page *page) {
    if (page->html) fputs("</main>\n</body>\n</html>\n", page->out);
}

void page_heading(Page *page, const char *text) {
    wrap(page, "<h2>", "\n## ", text, "</h2>\n", "\n");
}

void page_paragraph(Page *page, const char *text) {
    wrap(page, "<p>", "\n", text, "</p>\n", "\n");
}

void page_list_begin(Page *page) {
    fputs(page->html ? "<ul>\n" : "\n", page->out);
}

void page_list_item(Page *page, const char *text) {
    wrap(page, "<li>", "- ", text, "</li>\n", "\n");
}

void page_list_end(Page *page) {
    if (page->html) fputs("</ul>\n", page->out);
}

static void put_cells(const Page *page, const Row *row, size_t first_number, const char *tag) {
    fputs(page->html ? "<tr>" : "|", page->out);
    for (size_t i = 0; i < row->count; i++) {
        if (page->html) {
            fprintf(page->out, "<%s%s>", tag, i >= first_number ? " class=\"number\"" : "");
            put_html(page->out, row->cells[i]);
            fprintf(page->out, "</%s>", tag);
        } else {
            fputc(' ', page->out);
            put_markdown(page->out, row->cells[i]);
            fputs(" |", page->out);
        }
    }
    fputs(page->html ? "</tr>\n" : "\n", page->out);
}

void page_table_begin(Page *page, const char *caption, const Row *heads, size_t first_number) {
    wrap(page, "<div class=\"wide\"><table>\n<caption>", "\n", caption, "</caption>\n<thead>",
         "\n\n");
    put_cells(page, heads, first_number, "th");
    if (page->html) {
        fputs("</thead>\n<tbody>\n", page->out);
    } else {
        fputc('|', page->out);
        for (size_t i = 0; i < heads->count; i++)
            fputs(i >= first_number ? " ---: |" : " --- |", page->out);
        fputc('\n', page->out);
    }
}

void page_table_row(Page *page, const Row *row, size_t first_number) {
    put_cells(page, row, first_number, "td");
}

void page_table_end(Page *page) {
    if (page->html) fputs("</tbody>\n</table></div>\n", page->out);
}

/* Copies one line of an SVG with the names of its parts made this figure's own: gnuplot gives the
 * same names in every picture, and one page holds many. Only what stands inside a tag is a name;
 * *in_tag goes on from line to line. */
static void put_svg_line(FILE *out, const char *line, const char *name, bool *in_tag) {
    static const char *const names[] = { " id='", " id=\"", "href='#", "href=\"#", "url(#" };
    while (*line) {
        if (*line == '<') *in_tag = true;
        if (*line == '>') *in_tag = false;
        size_t length = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names && *in_tag && !length; i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0) length = strlen(names[i]);
        if (length) {
            fprintf(out, "%.*s%s-", (int)length, line, name);
            line += length;
        } else {
            fputc(*line++, out);
        }
    }
}

static Status inline_svg(const Page *page, const Figure *figure, Error *err) {
    char path[PATH_SIZE], leaf[64], line[8192];
    snprintf(leaf, sizeof leaf, "%s.svg", figure->name);
    TRY(textfile_path(path, page->plots, leaf, err));
    FILE *file = fopen(path, "rb");
    if (!file) return fail(err, ERR_MACHINE, "cannot open %s: %s", path, strerror(errno));
    bool inside = false, in_tag = false;
    while (fgets(line, sizeof line, file)) {
        const char *start = inside ? line : strstr(line, "<svg");
        if (!start) continue; /* the XML declaration has no place within HTML */
        inside = true;
        put_svg_line(page->out, start, figure->name, &in_tag);
    }
    fclose(file);
    return OK;
}

static void not_drawn(const Page *page, const Figure *figure) {
    char text[128];
    snprintf(text, sizeof text, "Not drawn. In plots/: gnuplot %s.gp", figure->name);
    wrap(page, "<p class=\"missing\">", "\n", text, "</p>\n", "\n");
}

Status page_figure(Page *page, const Figure *figure, Error *err) {
    if (page->html) {
        fprintf(page->out, "<figure id=\"figure-%s\">\n", figure->name);
        if (figure->drawn) {
            fputs("<div role=\"img\" aria-label=\"", page->out);
            put_html(page->out, figure->title);
            fputs(". ", page->out);
            put_html(page->out, figure->caption);
            fputs("\">\n", page->out);
            TRY(inline_svg(page, figure, err));
            fputs("</div>\n", page->out);
        } else {
            wrap(page, "<h3>", "", figure->title, "</h3>\n", "");
            not_drawn(page, figure);
        }
        wrap(page, "<figcaption>", "", figure->caption, "", "");
        fprintf(page->out,
                " <span class=\"files\">Files: plots/%s.svg, .pdf, .png; data .tsv, "
                "commands .gp.</span></figcaption>\n</figure>\n",
                figure->name);
        return OK;
    }
    if (figure->drawn) {
        wrap(page, "", "\n![", figure->title, "", "]");
        fprintf(page->out, "(plots/%s.svg)\n", figure->name);
    } else {
        wrap(page, "", "\n**", figure->title, "", "**\n");
        not_drawn(page, figure);
    }
    wrap(page, "", "\n", figure->subtitle, "", "\n");
    wrap(page, "", "\n", figure->caption, "", "\n");
    return OK;
}
