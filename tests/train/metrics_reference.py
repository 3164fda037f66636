# Reference values of metrics_test.cpp: SSIM with every window formed densely, variances about the local mean.
import numpy as np
# independent: dense 2-d windows
H,W=13,16
y,x,c=np.meshgrid(np.arange(H),np.arange(W),np.arange(3),indexing='ij')
A=((y*31+x*17+c*7)%53)/52.0
A=A.astype(np.float32)
B=np.clip(A*0.8+(((y*13+x*29+c*5)%41)/40.0)*0.3-0.05,0,1).astype(np.float32)
# B rounded in f32 from a double formula; the test uses the same formula
A=A.astype(np.float64);B=B.astype(np.float64)
print('psnr',10*np.log10(1/np.mean((A-B)**2)))
def win(n):
    k=np.arange(n)-n//2; g=np.exp(-(k**2)/(2*1.5**2)); g=np.outer(g,g); return g/g.sum()
def ssim(a,b,n,pad,clamp):
    w=win(n); out=[]
    if pad: a=np.pad(a,((n//2,n//2),(n//2,n//2),(0,0)),mode='reflect'); b=np.pad(b,((n//2,n//2),(n//2,n//2),(0,0)),mode='reflect')
    for i in range(a.shape[0]-n+1):
        for j in range(a.shape[1]-n+1):
            for ch in range(3):
                pa=a[i:i+n,j:j+n,ch];pb=b[i:i+n,j:j+n,ch]
                ma=(w*pa).sum();mb=(w*pb).sum()
                va=(w*(pa-ma)**2).sum();vb=(w*(pb-mb)**2).sum();cv=(w*(pa-ma)*(pb-mb)).sum()
                s=(2*ma*mb+1e-4)*(2*cv+9e-4)/((ma*ma+mb*mb+1e-4)*(va+vb+9e-4))
                out.append(min(max(s,0),1) if clamp else s)
    return np.mean(out)
print('ssim',repr(ssim(A,B,5,True,True)),'wang',repr(ssim(A,B,11,False,False)))
C=1-A
print('neg ssim',repr(ssim(A,C,5,True,True)),'wang',repr(ssim(A,C,11,False,False)), 10*np.log10(1/np.mean((A-C)**2)))
