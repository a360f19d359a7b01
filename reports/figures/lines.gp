plot for [i=1:has_bars] $bars using 1:2:(0):($3-$2):4 with vectors nohead lw 2.4 lc rgb variable notitle, \
     for [i=1:n_series] $data index (i-1) using 1:2 with linespoints ls i notitle, \
     for [i=1:(reference > 0)] reference with lines lw 1.4 dt (8,5) lc rgb '#111111' notitle, \
     for [i=1:n_subjects] NaN with lines ls (200 + i) title subject[i] noenhanced, \
     for [i=1:(reference > 0)] NaN with lines lw 1.4 dt (8,5) lc rgb '#111111' title reference_text noenhanced, \
     NaN with points pt 0 lc rgb 'white' title ' ', \
     for [i=1:n_providers] NaN with linespoints ls (100 + i) title provider[i] noenhanced
