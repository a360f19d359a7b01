set ylabel 'time of one launch (ms)' noenhanced
