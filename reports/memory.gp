# ---- memory: one bar a contender, what a GPU's memory goes to ----
set xrange [0:x_high]
set yrange [N + 0.6:0.4]
set ytics scale 0
set xlabel x_label offset 0, 0.3 textcolor rgb ink
set border 1
set lmargin at screen 0.22
set rmargin at screen 0.80
set tmargin at screen 1 - 92.0 / height
set bmargin at screen 60.0 / height
set style fill solid 1.0 noborder
do for [i = 1:3] {
    set label 10 + i part[i] at graph 0.24 * (i - 1) + 0.03, screen 1 - 72.0 / height left textcolor rgb ink
    set object 10 + i rectangle at graph 0.24 * (i - 1) + 0.012, screen 1 - 72.0 / height size graph 0.016, screen 12.0 / height fc rgb shade[i] fs solid noborder
}
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot name.'.tsv' using (0):(column('row')):(0):(column('weights')):(column('row') - 0.3):(column('row') + 0.3):ytic(stringcolumn('label')) with boxxyerror fc rgb shade[1], \
         '' using (0):(column('row')):(column('weights')):(column('weights') + column('reserve')):(column('row') - 0.3):(column('row') + 0.3) with boxxyerror fc rgb shade[2], \
         '' using (0):(column('row')):(column('weights') + column('reserve')):(column('weights') + column('reserve') + column('cache')):(column('row') - 0.3):(column('row') + 0.3) with boxxyerror fc rgb shade[3], \
         '' using (column('weights') + column('reserve') + column('cache')):(column('row')):(stringcolumn('text')) with labels left offset 0.8, 0 textcolor rgb ink
    unset output
}
