# ---- published: this run's errors above, what papers report below, one axis of compression ----
set logscale x 2
set logscale y 10
set xrange [x_low:x_high]
eval 'set xtics '.x_tics
set lmargin at screen 92.0 / width
set rmargin at screen right
of(part, value) = (int(column('part')) == part ? column(value) : NaN)
if (x_low < 16 && x_high > 16) { set arrow 1 from first 16, graph 0 to first 16, graph 1 nohead lc rgb faint dt 2 lw 1 }
do for [k = 1:3] {
    eval terminal[k]
    set output name.suffix[k]
    set multiplot
    eval put_titles
    eval put_families
    set tmargin at screen 1 - 104.0 / height
    set bmargin at screen 1 - 330.0 / height
    set yrange [ours_low:ours_high]
    eval 'set ytics '.ours_tics
    set ylabel 'y_rel of a layer, this run' textcolor rgb ink
    set xlabel 'times less cache than MHA in bf16' offset 0, 0.3 textcolor rgb ink
    plot name.'.tsv' using (of(1, 'x')):(of(1, 'y')):(int(column('mark'))):(int(column('colour'))) with points pt variable ps 1.0 lw 1.4 lc rgb variable
    unset label
    eval put_labels
    set tmargin at screen 1 - 400.0 / height
    set bmargin at screen 62.0 / height
    set yrange [theirs_low:theirs_high]
    eval 'set ytics '.theirs_tics
    set ylabel 'times the perplexity, papers' textcolor rgb ink
    set xlabel "times less cache than the model's own" offset 0, 0.3 textcolor rgb ink
    plot name.'.tsv' using (of(2, 'x')):(of(2, 'y')):(int(column('mark'))):(int(column('colour'))) with points pt variable ps 1.1 lw 1.8 lc rgb variable
    unset label
    unset arrow
    if (x_low < 16 && x_high > 16) { set arrow 1 from first 16, graph 0 to first 16, graph 1 nohead lc rgb faint dt 2 lw 1 }
    unset multiplot
    unset output
}
