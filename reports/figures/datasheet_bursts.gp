unset logscale y
unset xlabel
set ylabel 'TFLOP/s (int8: TOP/s)' noenhanced
set style fill solid 1 noborder
set boxwidth 0.36
set xtics nomirror scale 0 noenhanced
set ytics autofreq
set key inside right top vertical
