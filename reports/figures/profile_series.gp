# Numbers over time, one panel a unit. $data: seconds, then the columns of the csv.
set encoding utf8
set border 3 lc rgb '#444444' lw 1
set tics nomirror out scale 0.8,0.4 textcolor rgb '#222222'
set grid xtics ytics lt 1 lc rgb '#e4e4e4' lw 1
set key at screen 0.815,graph 1.03 left top vertical Left reverse noenhanced samplen 2 spacing 1.15 textcolor rgb '#222222'
set datafile missing 'NaN'
