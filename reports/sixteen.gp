# ---- sixteen: one row a contender; bytes, latency and error side by side ----
set yrange [N + 0.65:0.35]
set border 2 lc rgb faint
unset xtics
set grid noxtics noytics
set style fill solid 1.0
set tmargin at screen 1 - 118.0 / height
set bmargin at screen 22.0 / height
array columns[3]
columns[1] = 'bytes'
columns[2] = 'decode'
columns[3] = 'error'
shown(c) = (column(c) >= 0 ? column(c) : 0)
if (!exists("left")) left = 0.165
panel_width = (0.99 - left) / 3
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    set multiplot
    eval put_titles
    do for [j = 1:3] {
        panel_left = left + (j - 1) * panel_width
        set lmargin at screen panel_left
        set rmargin at screen panel_left + panel_width - 0.025
        set xrange [0:most[j] * (j == 1 ? 2.45 : 1.6)]
        set label 1 panel_title[j] at screen panel_left, screen 1 - 84.0 / height left font face.' Bold,12' textcolor rgb ink
        set label 2 baseline[j] at screen panel_left, screen 1 - 103.0 / height left font face.',12' textcolor rgb faint
        if (j == 1) { do for [i = 1:headings] { set label 1100 + i heading[i] at screen 16.0 / width, first heading_at[i] left font face.' Bold,12' textcolor rgb ink } }
        if (j == 1) { set ytics scale 0 } else { set ytics scale 0 ('' 1) }
        if (j == 1) {
            plot name.'.tsv' using (0.5 * shown(columns[j])):(column('row')):(0.5 * shown(columns[j])):(0.3):(int(column('colour'))):ytic(stringcolumn('label')) with boxxyerror lc rgb variable, \
                 '' using (shown(columns[j])):(column('row')):(stringcolumn(columns[j].'_text')) with labels left offset 0.7, 0 textcolor rgb ink
        } else {
            plot name.'.tsv' using (0.5 * shown(columns[j])):(column('row')):(0.5 * shown(columns[j])):(0.3):(int(column('colour'))) with boxxyerror lc rgb variable, \
                 '' using (shown(columns[j])):(column('row')):(stringcolumn(columns[j].'_text')) with labels left offset 0.7, 0 textcolor rgb ink
        }
        unset label
    }
    unset multiplot
    unset output
}
