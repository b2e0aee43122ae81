# ---- lines: curves over logarithmic axes, quartiles as bars, labels at the right ends ----
if (!exists("x_linear")) x_linear = 0
if (!x_linear) { set logscale x 2 }
set logscale y 10
set xrange [x_low:x_high]
set yrange [y_low:y_high]
eval 'set xtics '.x_tics
eval 'set ytics '.y_tics
set xlabel x_label offset 0, 0.3 textcolor rgb ink
set ylabel y_label textcolor rgb ink
set lmargin at screen 92.0 / width
set rmargin at screen 0.76
set tmargin at screen 1 - 72.0 / height
set bmargin at screen 62.0 / height
do for [i = 1:N] {
    set label i label[i] at graph 1, graph label_at[i] left offset 1.2, 0 textcolor rgb colour[i]
}
if (level > 0) {
    set arrow 1 from graph 0, first level to graph 1, first level nohead lc rgb faint dt 2 lw 1.2
    set label 900 level_label at graph 0, first level left offset 0.8, 0.6 textcolor rgb faint
}
if (!exists("meetings")) meetings = 0
do for [i = 1:meetings] {
    set arrow 10 + i from first meeting[i], graph 0 to first meeting[i], graph 1 nohead lc rgb faint dt 2 lw 1
    set label 910 + i meeting_text[i] at first meeting[i], graph 1.03 - 0.06 * i left offset 0.6, 0 font face.',12' textcolor rgb faint
}
of(i, value) = (int(column('curve')) == i ? column(value) : NaN)
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot for [i = 1:N] name.'.tsv' using (of(i, 'x')):(of(i, 'y')) with lines lc rgb colour[i] dt dash[i] lw 1.8, \
         for [i = 1:N] name.'.tsv' using (of(i, 'x')):(of(i, 'y')):(of(i, 'low')):(of(i, 'high')) with yerrorbars lc rgb colour[i] pt mark[i] ps 0.8 lw 1.2 dt 1
    unset output
}
