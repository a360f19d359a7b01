set logscale x 2
set xlabel 'arithmetic intensity (FLOP per byte at that level)' noenhanced
set ylabel 'TFLOP/s' noenhanced
unset key
set rmargin 24
set xtics ('1/8' 0.125, '1/4' 0.25, '1/2' 0.5, '1' 1, '2' 2, '4' 4, '8' 8, '16' 16, '32' 32, '64' 64, \
           '128' 128, '256' 256, '512' 512, '1k' 1024, '2k' 2048)
