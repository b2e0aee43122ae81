# ---- style: one look, three outputs ----
# Titles stand top left, so that the plot area is the same in every figure. Markup is off: names of
# users are printed as they are.
if (!exists("width")) width = 760
if (!exists("height")) height = 460
face = 'Arial'
ink = 0x222222
faint = 0x666666
array terminal[3]
terminal[1] = sprintf("set terminal svg noenhanced size %d,%d fixed font '%s,14' name '%s' background '#ffffff' dashlength 0.7", width, height, face, name)
terminal[2] = sprintf("set terminal pdfcairo noenhanced size %.4fin,%.4fin font '%s,14' fontscale 0.58 linewidth 1.0 dashlength 0.7 background '#ffffff'", width / 96.0, height / 96.0, face)
terminal[3] = sprintf("set terminal pngcairo noenhanced size %d,%d font '%s,14' fontscale 1.5 linewidth 2 pointscale 2.5 dashlength 0.7 background '#ffffff'", 2 * width, 2 * height, face)
array suffix[3]
suffix[1] = '.svg'
suffix[2] = '.pdf'
suffix[3] = '.png'
set encoding utf8
set datafile separator "\t"
set datafile columnheaders
set datafile missing NaN
set border 3 lc rgb faint lw 0.8
set tics nomirror scale 0.6 textcolor rgb ink
set grid xtics ytics lc rgb 0xdddddd lw 0.6 lt 1
set key off
set bars 0.6
put_titles = "set label 1001 title at screen 16.0 / width, screen 1 - 24.0 / height left font face.' Bold,18' textcolor rgb ink; set label 1002 subtitle at screen 16.0 / width, screen 1 - 48.0 / height left font face.',13' textcolor rgb faint"
eval put_titles
# names beside their marks (labels.h), in parts of the plot area, and what ties far ones to them
put_labels = "do for [i = 1:labels] { if (tie_from_x[i] != tie_to_x[i] || tie_from_y[i] != tie_to_y[i]) { set arrow 300 + i from graph tie_from_x[i], graph tie_from_y[i] to graph tie_to_x[i], graph tie_to_y[i] nohead lc rgb 0xaaaaaa lw 0.7 back }; set label 300 + i label[i] at graph label_x[i], graph label_y[i] center font sprintf('%s,%g', face, label_size) textcolor rgb label_colour[i] }"
# families of methods, a row under the titles
put_families = "do for [i = 1:families] { set label 1100 + i '' at screen (22.0 + family_at[i]) / width, screen 1 - 76.0 / height point pt 7 ps 0.9 lc rgb family_colour[i]; set label 1200 + i family[i] at screen (34.0 + family_at[i]) / width, screen 1 - 76.0 / height left font face.',12' textcolor rgb ink }"
