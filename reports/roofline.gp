# ---- roofline: attained rate against intensity, under this machine's own roofs ----
set logscale x 10
set logscale y 10
set xrange [x_low:x_high]
set yrange [y_low:y_high]
eval 'set xtics '.x_tics
eval 'set ytics '.y_tics
set xlabel x_label textcolor rgb ink
set ylabel y_label textcolor rgb ink
set lmargin at screen 0.095
set rmargin at screen 0.72
set tmargin at screen 0.845
set bmargin at screen 0.125
set samples 1000
roof(x, rate) = (rate * x < peak ? rate * x : peak)
set key at screen 0.985, screen 0.845 top right Left reverse samplen 1.5 spacing 1.15 textcolor rgb ink
set label 2 peak_text at graph 1, first peak right offset -1, 0.7 textcolor rgb faint
of(i, value) = (int(column('group')) == i ? column(value) : NaN)
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    plot roof(x, memory) with lines lc rgb ink lw 1.6 title memory_text, \
         for [j = 1:(cache > 0)] roof(x, cache) with lines lc rgb faint lw 1.2 dt 2 title cache_text, \
         for [i = 1:N] name.'.tsv' using (of(i, 'intensity')):(of(i, 'gflops')) with points pt mark[i] ps 0.9 lw 1.4 lc rgb colour[i] title label[i]
    unset output
}
