# ---- threeway: compression across, latency up, error as the area of a disc ----
set logscale x 2
set logscale y 10
set xrange [x_low:x_high]
set yrange [y_low:y_high]
eval 'set xtics '.x_tics
eval 'set ytics '.y_tics
set xlabel x_label offset 0, 0.3 textcolor rgb ink
set ylabel y_label textcolor rgb ink
set lmargin at screen 92.0 / width
set rmargin at screen right
set tmargin at screen 1 - 128.0 / height
set bmargin at screen 62.0 / height
eval put_families
eval put_labels
# what the area of a disc says
array sizes[4] = [0.05, 0.2, 0.5, 1.0]
set label 1000 'y_rel' at screen 16.0 / width, screen 1 - 104.0 / height left font face.',12' textcolor rgb ink
do for [i = 1:4] {
    set label 1010 + i '' at screen (68.0 + 72 * (i - 1)) / width, screen 1 - 104.0 / height point pt 6 ps whole * sqrt(sizes[i]) lc rgb faint
    set label 1020 + i sprintf('%g', sizes[i]) at screen (68.0 + 72 * (i - 1) + 4 + 22 * sqrt(sizes[i])) / width, screen 1 - 104.0 / height left font face.',12' textcolor rgb ink
}
if (x_low < 16 && x_high > 16) { set arrow 1 from first 16, graph 0 to first 16, graph 1 nohead lc rgb faint dt 2 lw 1 }
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot name.'.tsv' using (column('x')):(column('y')):(column('low')):(column('high')):(int(column('colour'))) with yerrorbars pt 0 lw 1.2 lc rgb variable, \
         '' using (column('x')):(column('y')):(column('size')):(int(column('colour')) + 0xa0000000) with points pt 7 ps variable lc rgb variable, \
         '' using (column('x')):(column('y')):(column('size')):(int(column('colour'))) with points pt 6 ps variable lw 1.2 lc rgb variable
    unset output
}
