# ---- dots: one row a contender, value and factor written beside the dot ----
set logscale x 10
set xrange [x_low:x_high]
set yrange [N + 0.7:0.3]
eval 'set xtics '.x_tics
set ytics scale 0
set xlabel x_label offset 0, 0.3 textcolor rgb ink
unset grid
set border 1
if (!exists("left")) left = 0.25
set lmargin at screen left
set rmargin at screen 0.76
set tmargin at screen 1 - 68.0 / height
set bmargin at screen 60.0 / height
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot name.'.tsv' using (x_low):(column('row')):(column('value') - x_low):(0):(int(column('colour'))):ytic(stringcolumn('label')) with vectors nohead lw 4 lc rgb variable, \
         '' using (column('value')):(column('row')):(int(column('mark'))):(int(column('colour'))) with points pt variable ps 1.0 lc rgb variable, \
         '' using (column('value')):(column('row')):(stringcolumn('text')) with labels left offset 1.2, 0 textcolor rgb ink
    unset output
}
