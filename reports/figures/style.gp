# What all figures share: grid, legend outside, quiet axes.
set encoding utf8
set border 3 lc rgb '#444444' lw 1
set tics nomirror out scale 0.8,0.4 textcolor rgb '#222222'
set grid xtics ytics lt 1 lc rgb '#e4e4e4' lw 1
set key outside right top vertical Left reverse noenhanced samplen 3 spacing 1.3 width 1 textcolor rgb '#222222'
set tmargin 4.2
set label 1001 title_text at graph 0,1 left offset 0,2.1 font ',15' noenhanced textcolor rgb '#111111'
set label 1002 detail_text at graph 0,1 left offset 0,0.8 noenhanced textcolor rgb '#555555'
set pointsize 0.8
set logscale y 10
set xlabel 'sequence length L (tokens)' noenhanced
value_format = '%g'
reference = 0
reference_text = ''
