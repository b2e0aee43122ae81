# ---- crossover: a panel a context, the paths against query tokens ----
set logscale x 2
set logscale y 10
set xrange [x_low:x_high]
set yrange [y_low:y_high]
eval 'set xtics '.x_tics
set xlabel x_label offset 0, 0.3 textcolor rgb ink
set tmargin at screen 1 - 160.0 / height
set bmargin at screen 62.0 / height
left = 92.0 / width
panel_width = (1.01 - left) / panels
of(i, value) = (int(column('curve')) == i ? column(value) : NaN)
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    set multiplot
    eval put_titles
    eval 'set ytics '.y_tics
    set ylabel y_label textcolor rgb ink
    # the legend, a row under the titles; colours differ in their last bits, as the svg terminal joins
    # neighbouring lines of one colour and loses their dashes
    do for [i = 1:N] {
        if (panel[i] == 1) {
            at = (16.0 + 150 * (i - 1)) / width
            row = 1 - 76.0 / height
            set arrow 10 + i from screen at, row to screen at + 40.0 / width, row nohead lc rgb (int(colour[i]) ^ i) dt dash[i] lw 1.8
            set label 10 + i '' at screen at + 20.0 / width, row point pt mark[i] ps 0.8 lc rgb colour[i]
            set label 20 + i label[i] at screen at + 50.0 / width, row left textcolor rgb ink
        }
    }
    do for [j = 1:panels] {
        panel_left = left + (j - 1) * panel_width
        set lmargin at screen panel_left
        set rmargin at screen panel_left + panel_width - 0.035
        set label 1 panel_title[j] at screen panel_left + 4.0 / width, screen 1 - 108.0 / height left font face.' Bold,12' textcolor rgb ink
        set label 2 measured_text[j] at screen panel_left + 4.0 / width, screen 1 - 128.0 / height left font face.',12' textcolor rgb ink
        set label 3 closed_text[j] at screen panel_left + 4.0 / width, screen 1 - 146.0 / height left font face.',12' textcolor rgb faint
        unset arrow 1
        unset arrow 2
        if (measured[j] > x_low && measured[j] < x_high) { set arrow 1 from first measured[j], graph 0 to first measured[j], graph 1 nohead lc rgb ink lw 1.2 dt 1 }
        if (closed[j] > x_low && closed[j] < x_high) { set arrow 2 from first closed[j], graph 0 to first closed[j], graph 1 nohead lc rgb faint lw 1.2 dt 2 }
        first = 0
        do for [i = 1:N] { if (panel[i] == j) { last = i; if (first == 0) { first = i } } }
        plot for [i = first:last] name.'.tsv' using (of(i, 'x')):(of(i, 'y')) with lines lc rgb colour[i] dt dash[i] lw 1.8 notitle, \
             for [i = first:last] name.'.tsv' using (of(i, 'x')):(of(i, 'y')):(of(i, 'low')):(of(i, 'high')) with yerrorbars lc rgb colour[i] pt mark[i] ps 0.8 lw 1.2 dt 1 notitle
        unset ylabel
        unset label
        unset arrow
        eval 'set ytics '.y_blanks
    }
    unset multiplot
    unset output
}
