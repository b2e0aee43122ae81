# ---- roofline: attained rate against intensity, under this machine's own roofs ----
set logscale x 10
set logscale y 10
set xrange [x_low:x_high]
set yrange [y_low:y_high]
eval 'set xtics '.x_tics
eval 'set ytics '.y_tics
set xlabel x_label offset 0, 0.3 textcolor rgb ink
set ylabel y_label textcolor rgb ink
set lmargin at screen 92.0 / width
set rmargin at screen 0.715
set tmargin at screen 1 - 72.0 / height
set bmargin at screen 62.0 / height
set samples 1000
roof(x, rate) = (rate * x < peak ? rate * x : peak)
set label 2 peak_text at graph 1, first peak right offset -1, 0.7 textcolor rgb faint
# lower peaks, where there is more than one kind of arithmetic
if (!exists("levels")) levels = 0
do for [k = 1:levels] {
    set label 5 + k level_text[k] at graph 1, first level[k] right offset -1, 0.7 textcolor rgb faint
}
below(x, k) = (k > levels ? NaN : x * memory >= level[k] ? level[k] : NaN)
of(i, value) = (int(column('group')) == i ? column(value) : NaN)
# the legend, a column beside the plot
line_high = 23.0 / height
column_at = 0.74
row = 1 - 80.0 / height
do for [i = 1:M] {
    set label 10 + i '' at screen column_at + 14.0 / width, row - (i - 1) * line_high point pt entry_mark[i] ps 0.9 lc rgb entry_colour[i]
    set label 60 + i entry[i] at screen column_at + 36.0 / width, row - (i - 1) * line_high left textcolor rgb ink
}
row = row - (M + 0.5) * line_high
set arrow 1 from screen column_at, row to screen column_at + 28.0 / width, row nohead lc rgb ink lw 1.6
set label 1 memory_text at screen column_at + 36.0 / width, row left textcolor rgb ink
if (cache > 0) {
    row = row - line_high
    set arrow 3 from screen column_at, row to screen column_at + 28.0 / width, row nohead lc rgb faint lw 1.2 dt 2
    set label 3 cache_text at screen column_at + 36.0 / width, row left textcolor rgb ink
}
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot roof(x, memory) with lines lc rgb ink lw 1.6 notitle, \
         for [j = 1:(cache > 0)] roof(x, cache) with lines lc rgb faint lw 1.2 dt 2 notitle, \
         for [j = 1:levels] below(x, j) with lines lc rgb faint lw 1.2 dt 3 notitle, \
         for [i = 1:N] name.'.tsv' using (of(i, 'intensity')):(of(i, 'gflops')) with points pt mark[i] ps 0.9 lw 1.4 lc rgb colour[i] notitle
    unset output
}
