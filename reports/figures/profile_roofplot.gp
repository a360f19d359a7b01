plot for [i=1:n_roofs] roof(x, roof_gbytes[i]) with lines lw 2 lc rgb roof_colour[i] title roof_name[i] noenhanced, \
     for [i=1:(flat_tflops > 0)] flat_tflops with lines lw 2 lc rgb '#111111' title flat_name noenhanced, \
     for [i=1:(simt_tflops > 0)] simt_tflops with lines lw 1.4 dt (8,5) lc rgb '#777777' title simt_name noenhanced, \
     for [i=1:n_levels] $drop index (i-1) using 1:2 with lines lw 1 dt (2,3) lc rgb level_colour[i] notitle, \
     for [i=1:n_levels] $level index (i-1) using 1:2 with points pt 7 ps 1.7 lc rgb level_colour[i] title level_name[i] noenhanced, \
     for [i=1:has_compulsory] $compulsory using 1:2 with points pt 6 ps 1.6 lw 1.6 lc rgb '#111111' title 'compulsory traffic' noenhanced
