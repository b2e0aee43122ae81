# ---- error: error against compression, each point named ----
unset grid
set grid xtics lc rgb 0xdddddd lw 0.6 lt 1
set logscale x 2
set xrange [x_low:x_high]
set yrange [0:y_high]
eval 'set xtics '.x_tics
set xlabel x_label offset 0, 0.3 textcolor rgb ink
set ylabel y_label textcolor rgb ink
set lmargin at screen 92.0 / width
set rmargin at screen 0.86
set tmargin at screen 1 - 72.0 / height
set bmargin at screen 62.0 / height
array joined[2]
joined[1] = 2
joined[2] = 1
do for [i = 1:N] {
    set label i label[i] at first x_at[i], first y_at[i] center offset shift_x[i], shift_y[i] textcolor rgb colour[i]
}
do for [i = 1:levels] {
    set arrow i + 1 from graph 0, first level[i] to graph 1.17, first level[i] nohead lc rgb 0x999999 dt 3 lw 1.2
}
do for [i = 1:levels + 1] {
    set label N + i verdict[i] at graph 1, first verdict_at[i] left offset 0.8, 0 font face.',12' textcolor rgb faint
}
set arrow 1 from first 16, graph 0 to first 16, graph 1 nohead lc rgb faint dt 2 lw 1
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot for [f = 1:2] name.'.tsv' using (int(column('family')) == f ? column('x') : NaN):(column('y')) with lines lc rgb 0xaaaaaa dt joined[f] lw 1.2, \
         '' using (column('x')):(column('y')):(column('low')):(column('high')):(int(column('colour'))) with yerrorbars pt 0 ps 0 lw 1.2 lc rgb variable, \
         '' using (column('x')):(column('y')):(int(column('mark'))):(int(column('colour'))) with points pt variable ps 1.0 lc rgb variable
    unset output
}
