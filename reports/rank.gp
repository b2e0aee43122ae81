# ---- rank: two panels over rank, error of the rows and of the output ----
set logscale x 2
set logscale y 10
set xrange [x_low:x_high]
eval 'set xtics '.x_tics
set tmargin at screen 1 - 124.0 / height
set bmargin at screen 62.0 / height
array columns[2] = ['rows', 'output']
array panel_title[2] = ['keys and values', 'output of the layer (y_rel)']
of(i, value) = (int(column('series')) == i ? column(value) : NaN)
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    set multiplot
    eval put_titles
    do for [i = 1:N] {
        at = (24.0 + 92 * (i - 1)) / width
        set label 10 + i '' at screen at, screen 1 - 76.0 / height point pt mark[i] ps 0.9 lc rgb colour[i]
        set label 20 + i label[i] at screen at + 12.0 / width, screen 1 - 76.0 / height left font face.',12' textcolor rgb ink
    }
    do for [j = 1:2] {
        panel_left = 80.0 / width + (j - 1) * 0.5
        set lmargin at screen panel_left
        set rmargin at screen panel_left + 0.375
        set label 1 panel_title[j] at screen panel_left, screen 1 - 108.0 / height left font face.' Bold,12' textcolor rgb ink
        set xlabel x_label offset 0, 0.3 font face.',12' textcolor rgb ink
        if (j == 1) {
            set ylabel 'relative error' textcolor rgb ink
            set yrange [rows_low:rows_high]
            eval 'set ytics '.rows_tics
            plot for [i = 1:N] name.'.tsv' using (of(i, 'rank')):(of(i, 'eigenvalues')) with lines lc rgb colour[i] lw 1.8 notitle, \
                 for [i = 1:N] name.'.tsv' using (of(i, 'rank')):(of(i, 'rows')) with points lc rgb colour[i] pt mark[i] ps 0.9 lw 1.4 notitle
        } else {
            unset ylabel
            set yrange [output_low:output_high]
            eval 'set ytics '.output_tics
            plot for [i = 1:N] name.'.tsv' using (of(i, 'rank')):(of(i, 'output')) with linespoints lc rgb colour[i] pt mark[i] ps 0.9 lw 1.4 dt 3 notitle
        }
        unset label
    }
    unset multiplot
    unset output
}
