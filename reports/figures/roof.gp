roof(x, peak) = (copy_gbytes_per_s * x / 1e3 < peak) ? copy_gbytes_per_s * x / 1e3 : peak
has_roof = copy_gbytes_per_s > 0 && gemm_tflops > 0
has_f32_roof = has_roof && gemm_f32_tflops > 0 && dtype_text ne 'f32'
roof_text = sprintf('copy %.0f GB/s and', copy_gbytes_per_s)
peak_text = sprintf('%s GEMM %.0f TFLOP/s', dtype_text, gemm_tflops)
f32_text = sprintf('f32 GEMM %.0f TFLOP/s', gemm_f32_tflops)
set samples 1000
plot for [i=1:has_bars] $bars using 1:2:(0):($3-$2):4 with vectors nohead lw 2.4 lc rgb variable notitle, \
     for [i=1:has_roof] roof(x, gemm_tflops) with lines lw 2 lc rgb '#111111' notitle, \
     for [i=1:has_f32_roof] roof(x, gemm_f32_tflops) with lines lw 1.4 dt (8,5) lc rgb '#777777' notitle, \
     for [i=1:n_series] $data index (i-1) using 1:2 with linespoints ls i lw 1 notitle, \
     for [i=1:n_series] $data index (i-1) using 1:2:3 with labels font ',9' textcolor ls i offset 0,-0.8 notitle, \
     for [i=1:n_subjects] NaN with lines ls (200 + i) title subject[i] noenhanced, \
     NaN with points pt 0 lc rgb 'white' title ' ', \
     for [i=1:n_providers] NaN with linespoints ls (100 + i) title provider[i] noenhanced, \
     for [i=1:has_roof] NaN with points pt 0 lc rgb 'white' title ' ', \
     for [i=1:has_roof] NaN with lines lw 2 lc rgb '#111111' title roof_text noenhanced, \
     for [i=1:has_roof] NaN with points pt 0 lc rgb 'white' title peak_text noenhanced, \
     for [i=1:has_f32_roof] NaN with lines lw 1.4 dt (8,5) lc rgb '#777777' title f32_text noenhanced
