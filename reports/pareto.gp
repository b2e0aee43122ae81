# ---- pareto: error against compression, the front as a stair, names beside their marks ----
unset grid
set grid xtics ytics lc rgb 0xe8e8e8 lw 0.6 lt 1
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
set tmargin at screen 1 - 104.0 / height
set bmargin at screen 62.0 / height
eval put_families
eval put_labels
do for [i = 1:verdicts] {
    if (i < verdicts) { set arrow 200 + i from graph 0, first level[i] to graph 1.17, first level[i] nohead lc rgb 0x999999 dt 3 lw 1.2 }
    set label 600 + i verdict[i] at graph 1, first verdict_at[i] left offset 0.8, 0 font face.',12' textcolor rgb faint
}
if (x_low < 16 && x_high > 16) { set arrow 1 from first 16, graph 0 to first 16, graph 1 nohead lc rgb faint dt 2 lw 1 }
of(part, value) = (int(column('part')) == part ? column(value) : NaN)
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot name.'.tsv' using (of(2, 'x')):(of(2, 'y')) with lines lc rgb 0x999999 lw 2.2, \
         '' using (of(3, 'x')):(of(3, 'y')):(int(column('colour')) + 0x90000000) with lines lc rgb variable lw 1.2, \
         '' using (of(1, 'x')):(of(1, 'y')):(int(column('mark'))):(int(column('colour'))) with points pt variable ps 1.0 lw 1.4 lc rgb variable
    unset output
}
