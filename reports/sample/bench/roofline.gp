# roofline.gp -- draws roofline.svg, .pdf and .png from roofline.tsv; by hand: gnuplot roofline.gp
name = 'roofline'
title = 'Attention kernels on this machine''s roofline'
subtitle = 'AMD EPYC; measured: rates and roofs; exact: intensity; filled marks decode, open others'
array colour[10]
array mark[10]
colour[1] = 0
mark[1] = 5
colour[2] = 0
mark[2] = 4
colour[3] = 15113984
mark[3] = 7
colour[4] = 15113984
mark[4] = 6
colour[5] = 40563
mark[5] = 9
colour[6] = 29362
mark[6] = 11
colour[7] = 29362
mark[7] = 10
colour[8] = 13400487
mark[8] = 12
N = 8
array entry[5]
array entry_colour[5]
array entry_mark[5]
entry[1] = 'MHA'
entry_colour[1] = 0
entry_mark[1] = 5
entry[2] = 'GQA'
entry_colour[2] = 15113984
entry_mark[2] = 7
entry[3] = 'MQA'
entry_colour[3] = 40563
entry_mark[3] = 9
entry[4] = 'MLA'
entry_colour[4] = 29362
entry_mark[4] = 11
entry[5] = 'projections'
entry_colour[5] = 13400487
entry_mark[5] = 12
M = 5
memory = 39.2222765
cache = 140.056983
memory_text = 'memory read 39.2 GB/s'
cache_text = 'LLC read 140 GB/s'
array level[2]
array level_text[2]
peak_text = 'fp32 FMA 207 GFLOP/s'
levels = 0
peak = 207.038782
x_label = 'intensity (flop/B)'
y_label = 'attained (GFLOP/s)'
x_low = 0.2
x_high = 2000
x_tics = "('1' 1, '10' 10, '100' 100, '1000' 1000)"
x_blanks = "('' 1, '' 10, '' 100, '' 1000)"
y_low = 10
y_high = 500
y_tics = "('10' 10, '20' 20, '50' 50, '100' 100, '200' 200, '500' 500)"
y_blanks = "('' 10, '' 20, '' 50, '' 100, '' 200, '' 500)"

# ---- style: one look, three outputs ----
# Titles stand top left, so that the plot area is the same in every figure. Markup is off: names of
# users are printed as they are.
if (!exists("width")) width = 760
if (!exists("height")) height = 460
face = 'Arial'
ink = 0x222222
faint = 0x666666
array terminal[3]
terminal[1] = sprintf("set terminal svg noenhanced size %d,%d fixed font '%s,14' name '%s' background '#ffffff' dashlength 0.7", width, height, face, name)
terminal[2] = sprintf("set terminal pdfcairo noenhanced size %.4fin,%.4fin font '%s,14' fontscale 0.58 linewidth 1.0 dashlength 0.7 background '#ffffff'", width / 96.0, height / 96.0, face)
terminal[3] = sprintf("set terminal pngcairo noenhanced size %d,%d font '%s,14' fontscale 1.5 linewidth 2 pointscale 2.5 dashlength 0.7 background '#ffffff'", 2 * width, 2 * height, face)
array suffix[3]
suffix[1] = '.svg'
suffix[2] = '.pdf'
suffix[3] = '.png'
set encoding utf8
set datafile separator "\t"
set datafile columnheaders
set datafile missing NaN
set border 3 lc rgb faint lw 0.8
set tics nomirror scale 0.6 textcolor rgb ink
set grid xtics ytics lc rgb 0xdddddd lw 0.6 lt 1
set key off
set bars 0.6
put_titles = "set label 1001 title at screen 16.0 / width, screen 1 - 24.0 / height left font face.' Bold,18' textcolor rgb ink; set label 1002 subtitle at screen 16.0 / width, screen 1 - 48.0 / height left font face.',13' textcolor rgb faint"
eval put_titles
# names beside their marks (labels.h), in parts of the plot area, and what ties far ones to them
put_labels = "do for [i = 1:labels] { if (tie_from_x[i] != tie_to_x[i] || tie_from_y[i] != tie_to_y[i]) { set arrow 300 + i from graph tie_from_x[i], graph tie_from_y[i] to graph tie_to_x[i], graph tie_to_y[i] nohead lc rgb 0xaaaaaa lw 0.7 back }; set label 300 + i label[i] at graph label_x[i], graph label_y[i] center font sprintf('%s,%g', face, label_size) textcolor rgb label_colour[i] }"
# families of methods, a row under the titles
put_families = "do for [i = 1:families] { set label 1100 + i '' at screen (22.0 + family_at[i]) / width, screen 1 - 76.0 / height point pt 7 ps 0.9 lc rgb family_colour[i]; set label 1200 + i family[i] at screen (34.0 + family_at[i]) / width, screen 1 - 76.0 / height left font face.',12' textcolor rgb ink }"

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
